"""One place that turns what SQLite says into the errors of Perdure."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perdure.errors import JournalCorruptError, StorageError

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_ELSEWHERE = "check the permissions, or point PERDURE_HOME at a folder you may write to"
_DENIED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, 0 if the error did not come from the database itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # extended codes refine the low byte


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Raise what SQLite and the system refuse as a :class:`~perdure.errors.StorageError`.

    Args:
        path: Path of the journal, named in the message.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error
    except PermissionError as error:
        raise StorageError(
            f"the journal {path} cannot be opened: {error.strerror}", hint=_ELSEWHERE
        ) from error


def _translate(error: sqlite3.Error, path: Path) -> StorageError:
    code = primary_code(error)
    if code in _CORRUPT:
        return JournalCorruptError(
            f"the journal {path} is damaged: {error}",
            hint="nothing was changed; move the file away to start with an empty journal, or try "
            f"`sqlite3 {path} .recover` to save what is left",
        )
    if code in _FULL:
        return StorageError(
            f"the disk of the journal {path} is full; nothing was written",
            hint="free some space and resume the run, or point PERDURE_HOME at another disk",
        )
    if code in _DENIED:
        return StorageError(
            f"the journal {path} cannot be written: {error}",
            hint=_ELSEWHERE,
        )
    if code in _BUSY:
        return StorageError(
            f"the journal {path} was locked by another process for too long: {error}",
            hint="look for a process that holds it open, such as a database browser, and end it",
        )
    return StorageError(
        f"the journal {path} failed: {error}; nothing was written",
        hint="perdure doctor tells more about the disk and the journal; then resume the run",
    )
