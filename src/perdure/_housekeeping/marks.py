"""What the journal refers to, noted in temporary tables: memory stays flat however much it is."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from itertools import chain

from perdure._housekeeping.roots import ROOTS

_BATCH = 500

_TABLES = """
CREATE TEMP TABLE IF NOT EXISTS refs
    (digest BLOB, run INTEGER, PRIMARY KEY (digest, run)) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS workers (number INTEGER PRIMARY KEY);
DELETE FROM temp.refs;
DELETE FROM temp.workers;
"""


def mark(db: sqlite3.Connection, without: Collection[int] = ()) -> None:
    """Note which blobs and which workers' logs are referred to, all at one moment.

    Args:
        db: The journal.
        without: Keys of runs that are treated as if they were gone.
    """
    for statement in _TABLES.strip().split(";\n"):
        db.execute(statement)
    gone = frozenset(without)
    db.execute("BEGIN")
    try:
        db.executemany("INSERT OR IGNORE INTO temp.refs VALUES (?, ?)", _references(db, gone))
        db.executemany("INSERT OR IGNORE INTO temp.workers VALUES (?)", _workers(db, gone))
    finally:
        db.execute("COMMIT")


def _references(db: sqlite3.Connection, gone: frozenset[int]) -> Iterator[tuple[bytes, int]]:
    for root in ROOTS:
        rows = db.execute(
            f"SELECT {root.run or 0}, {root.column} FROM {root.table} "
            f"WHERE {root.column} IS NOT NULL"
        )
        for run, value in rows:
            if run not in gone:
                for digest in root.digests(value):
                    yield digest, run


def _workers(db: sqlite3.Connection, gone: frozenset[int]) -> Iterator[tuple[int]]:
    runs = db.execute("SELECT key FROM runs").fetchall()
    for (run,) in runs:
        if run not in gone:
            yield from db.execute(
                "SELECT DISTINCT worker FROM actions WHERE run = :run AND log IS NOT NULL UNION "
                "SELECT DISTINCT worker FROM attempts WHERE run = :run AND log IS NOT NULL "
                "UNION SELECT DISTINCT worker FROM actions INDEXED BY open_actions "
                "WHERE run = :run AND ended IS NULL",
                {"run": run},
            )


def unmarked(db: sqlite3.Connection, digests: Iterable[bytes]) -> set[bytes]:
    """Return those of the blobs that nothing refers to."""
    wanted = list(digests)
    left = set(wanted)
    for start in range(0, len(wanted), _BATCH):
        batch = wanted[start : start + _BATCH]
        marks = ", ".join("?" * len(batch))
        found = db.execute(
            f"SELECT DISTINCT digest FROM temp.refs WHERE digest IN ({marks})", batch
        )
        left.difference_update(chain.from_iterable(found))
    return left


def is_marked_worker(db: sqlite3.Connection, number: int) -> bool:
    """Whether a row refers to the log of that worker."""
    return bool(db.execute("SELECT 1 FROM temp.workers WHERE number = ?", (number,)).fetchone())
