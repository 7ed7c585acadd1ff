"""Opening the database: is it ours, is it of our time, and the migrations that bring it there.

A file is a Perdure journal if its ``application_id`` says so, and ``user_version`` counts the
migrations applied to it. What is not ours, newer or damaged is refused before a byte is changed.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from perdure._journal.faults import StorageErrors, primary_code
from perdure.config import Durability
from perdure.errors import JournalVersionError, StorageError

APPLICATION_ID = 0x50726475  # "Prdu"
BUSY_SECONDS = 30.0
PAGE_BYTES = 4096
CACHE_KIB = 8192
CHECKPOINT_PAGES = 4000


def open_journal(path: Path, durability: Durability) -> sqlite3.Connection:
    """Open the journal at ``path`` for writing; create it, and the folders above it, if missing.

    Raises:
        JournalCorruptError: The file is damaged or no database.
        JournalVersionError: A newer release wrote it.
        StorageError: It is some other program's database, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder {path.parent} cannot be created: {error.strerror}",
            hint="point PERDURE_HOME at a folder you may write to",
        ) from error
    with StorageErrors(path, None):
        db = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            refuse_foreign(db, path)
            _configure(db, durability)
            _migrate(db, path)
        except BaseException:
            db.close()
            raise
    return db


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at ``path`` from any other that comes there; None if none is."""
    try:
        found = os.stat(path)  # noqa: PTH116  # every commit asks: half the time of path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def refuse_foreign(db: sqlite3.Connection, path: Path) -> int:
    """Return the version of the journal, 0 for an empty database; raise if it is not for us."""
    # One statement: between two, another process may have made a journal of an empty database.
    application, version, objects = db.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application != APPLICATION_ID and (application or version or objects):
        raise StorageError(
            f"{path} is not a Perdure journal but another program's database",
            hint="point PERDURE_HOME at another folder",
        )
    newest = len(migrations())
    if version > newest:
        raise JournalVersionError(
            f"the journal {path} has version {version}; this release reads up to {newest}",
            hint="upgrade Perdure (pip install -U perdure), or use another PERDURE_HOME",
        )
    return int(version)


def migrations() -> list[str]:
    """Return the migration scripts in order; the first brings an empty database to version 1."""
    folder = files("perdure._journal") / "migrations"
    scripts = sorted((f.name, f) for f in folder.iterdir() if f.name.endswith(".sql"))
    return [script.read_text(encoding="utf-8") for _, script in scripts]


def _configure(db: sqlite3.Connection, durability: Durability) -> None:
    db.execute(f"PRAGMA page_size={PAGE_BYTES}")  # only has an effect before the first page
    _enter_wal(db)
    db.execute(f"PRAGMA synchronous={'FULL' if durability == 'full' else 'NORMAL'}")
    if sys.platform == "darwin" and durability == "full":
        # On macOS a plain fsync stops at the drive's cache.
        db.execute("PRAGMA fullfsync=ON")
        db.execute("PRAGMA checkpoint_fullfsync=ON")
    db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    db.execute("PRAGMA temp_store=FILE")


def _enter_wal(db: sqlite3.Connection) -> None:
    # Changing the journal mode needs the file for itself, and SQLite does not wait for that: two
    # processes that create the journal at the same moment meet here.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    scripts = migrations()
    if refuse_foreign(db, path) == len(scripts):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        version = refuse_foreign(db, path)  # another process may have been faster
        for script in scripts[version:]:
            for statement in _statements(script):
                db.execute(statement)
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={len(scripts)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Split a script; ``executescript`` would commit each statement by itself."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
