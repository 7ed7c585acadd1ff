"""The shell of the core: one asyncio loop that owns runs.

* ``controller.py``  handles commands one batch at a time and carries the core's effects out
* ``session.py``     one connection: authentication, messages in, orders out
* ``scribe.py``      the thread that owns the journal: group commit
* ``signals.py``     answers to conditions, from other processes
* ``inquiries.py``   what the journal is asked: lookups, audits of replays
* ``crew.py``        the workers, from placing one to the news of its end
* ``endings.py``     what a worker's end means
* ``echo.py``        what tasks print, shown where the run is driven
* ``answering.py``   what other processes of the user ask
* ``presence.py``    which controllers are alive, and how to reach them
"""
