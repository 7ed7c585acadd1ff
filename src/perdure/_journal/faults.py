"""One place that turns what SQLite says into the errors of Perdure."""

import sqlite3
from pathlib import Path
from typing import Generic, TypeVar

from perdure.errors import JournalCorruptError, StorageError

Inside = TypeVar("Inside")

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_ELSEWHERE = "check the permissions, or point PERDURE_HOME at a folder you may write to"
_DENIED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, 0 if the error did not come from the database itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # extended codes refine the low byte


class StorageErrors(Generic[Inside]):
    """Raises what SQLite and the system refuse inside a block as a ``StorageError``.

    A class, because every commit goes through one, and a generator costs more than the rest of it.

    Args:
        path: Path of the journal, named in the message.
        inside: What the block gets.
    """

    __slots__ = ("_inside", "_path")

    def __init__(self, path: Path, inside: Inside) -> None:
        self._path = path
        self._inside = inside

    def __enter__(self) -> Inside:
        return self._inside

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise _translate(error, self._path) from error
        if isinstance(error, PermissionError):
            raise StorageError(
                f"the journal {self._path} cannot be opened: {error.strerror}", hint=_ELSEWHERE
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
