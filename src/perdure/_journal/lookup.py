"""Finding actions by id without an index in the journal.

Ids are digests, so an index on them is written at random places: one dirty page per row, on the hot
path, for something only replay needs. Instead the first lookup in a run sorts its ids into a
temporary table (on disk, so memory stays flat however many there are), and later lookups add what
was appended since. Rows that are replaced keep their place and id, so the table stays right.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice

from perdure._journal.rows import ACTION_COLUMNS, Columns

BATCH = 500


class LookupTables:
    """The temporary tables of one connection, one per run looked into."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._indexed: dict[int, int] = {}  # run -> largest seq in its table

    def find(self, run: int, ids: Sequence[bytes]) -> Iterator[Columns]:
        """Yield ``ACTION_COLUMNS``, task name and task code of the actions that have a row."""
        self._extend(run)
        columns = ", ".join(f"a.{name}" for name in ACTION_COLUMNS.split(", "))
        remaining = iter(ids)
        while batch := list(islice(remaining, BATCH)):
            yield from self._db.execute(
                f"SELECT {columns}, t.name, t.code FROM temp.lookup_{run:d} AS l "
                f"CROSS JOIN main.actions AS a ON a.run = ? AND a.seq = l.seq "
                "CROSS JOIN main.tasks AS t ON t.id = a.task "
                f"WHERE l.id IN ({', '.join('?' * len(batch))})",
                (run, *batch),
            )

    def drop(self, run: int) -> None:
        """Forget the run's table."""
        if self._indexed.pop(run, None) is not None:
            self._db.execute(f"DROP TABLE temp.lookup_{run:d}")

    def _extend(self, run: int) -> None:
        if run not in self._indexed:
            self._db.execute(
                f"CREATE TEMP TABLE lookup_{run:d} (id BLOB PRIMARY KEY, seq INTEGER) WITHOUT ROWID"
            )
            self._indexed[run] = 0
        newest = last_seq(self._db, run)
        if newest > self._indexed[run]:
            self._db.execute(
                f"INSERT OR REPLACE INTO temp.lookup_{run:d} SELECT id, seq FROM main.actions "
                "WHERE run = ? AND seq > ? AND seq <= ? ORDER BY id",
                (run, self._indexed[run], newest),
            )
            self._indexed[run] = newest


def last_seq(db: sqlite3.Connection, run: int) -> int:
    """Return the largest ``seq`` of the run, 0 if it has no rows."""
    (seq,) = db.execute("SELECT max(seq) FROM actions WHERE run = ?", (run,)).fetchone()
    return int(seq or 0)
