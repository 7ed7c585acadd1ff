"""The shell of the core: one asyncio loop that owns runs.

* ``controller.py``  handles commands one batch at a time and carries the core's effects out
* ``session.py``     one connection: authentication, messages in, orders out
* ``scribe.py``      the thread that owns the journal: group commit, lookups, audits
* ``endings.py``     what a worker's end means
* ``presence.py``    which controllers are alive, and how to reach them
"""
