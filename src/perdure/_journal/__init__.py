"""The journal: the only truth about runs, actions and outcomes. Write path only.

An outcome may be seen by nobody before it is in here (commit before observe), so the speed of
:meth:`~perdure._ports.Journal.commit` is the speed of the whole system. Everything in this package
serves that one call and recovery: rows are appended and found again by identity. Lists, trees,
counts and searches for people live in ``perdure._views``, on their own connections: they may grow
without end, and a slow one never holds up a commit. This side stays small enough to be checked line
by line.

``sqlite`` is the journal of real runs, ``memory`` the one of simulations; both pass the suite in
``tests/conformance``.
"""
