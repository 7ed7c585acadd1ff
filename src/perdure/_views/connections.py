"""Read-only connections to a journal that may not exist yet."""

import os
import sqlite3
import threading
import weakref
from pathlib import Path
from typing import Any

from perdure._journal.faults import StorageErrors
from perdure._journal.schema import (
    BUSY_SECONDS,
    identity,
    migrations,
    open_journal,
    refuse_foreign,
)

Owner = tuple[int, tuple[int, int] | None]
"""The process that opened a connection, and the file it opened."""


class ReadConnections:
    """One connection per thread, opened when the thread first asks; a fork opens its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._opened: list[tuple[Owner, sqlite3.Connection]] = []
        self._lock = threading.Lock()
        # Not __del__: among what dies in one circle, connections may be finalized before it is.
        weakref.finalize(self, _close, self._opened, self._lock)

    def rows(self, query: str, *parameters: object, **named: object) -> list[tuple[Any, ...]]:
        """Return all rows of the query; none if there is no journal.

        Args:
            query: With a ``?`` for each parameter, or with names (``:run``).
            *parameters: Values in order.
            **named: Values by name, instead.
        """
        with StorageErrors(self._path, None):
            db = self._connection()
            return [] if db is None else db.execute(query, named or parameters).fetchall()

    def close(self) -> None:
        """Close the connections of all threads."""
        _close(self._opened, self._lock)
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection | None:
        # Looked at every time: the journal appears with the first run, and may be replaced.
        owner = os.getpid(), identity(self._path)
        opened, db = getattr(self._local, "opened", (None, None))
        if opened == owner:
            return db
        if opened and db and opened[0] == owner[0]:
            self._drop(db)
        if owner[1] is None:
            return None
        db = self._open()
        if db is not None:
            self._local.opened = (owner, db)
            with self._lock:
                self._opened.append(self._local.opened)
        return db

    def _drop(self, db: sqlite3.Connection) -> None:
        """Close this thread's connection: what it reads is no longer the journal."""
        db.close()
        self._local.opened = (None, None)
        with self._lock:
            self._opened[:] = [each for each in self._opened if each[1] is not db]

    def _open(self) -> sqlite3.Connection | None:
        db = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            version = refuse_foreign(db, self._path)
            if version:
                if version < len(migrations()):
                    open_journal(self._path, "full").close()  # brings it up to date
                return db
        except BaseException:
            db.close()
            raise
        db.close()  # its creation is in progress
        return None


def _close(opened: list[tuple[Owner, sqlite3.Connection]], lock: threading.Lock) -> None:
    """Close the connections that this process has opened."""
    with lock:
        for (pid, _), db in opened:
            if pid == os.getpid():
                db.close()
        opened.clear()
