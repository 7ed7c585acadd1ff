"""Finding actions by id without an index in the journal.

Ids are digests, so an index on them is written at random places: one dirty page per row, on the hot
path, for something only replay needs. Instead the first lookup in a run sorts its ids into a
temporary table (on disk, so memory stays flat however many there are), and later lookups add what
was appended since. Rows that are replaced keep their place and id, so the table stays right.

A replay asks for the children of a parent more or less in the order in which they were recorded. So
each search also reads on from where it ended: most of what is asked for next is then at hand, at a
fraction of the cost. Only successes are kept like that, which never change.

Better still, replays are told of recorded children in pages, ahead of their calls. Of those whose
outcome is not in a page the place is remembered: with the root's, which is always the first, a run
can be resumed without the table.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice

from perdure._core.records import Page
from perdure._journal.rows import ACTION_COLUMNS, Columns
from perdure._journal.tallies import BLOCK

BATCH = 500
AHEAD = 4000
AHEAD_BYTES = 1024
"""Actions that are read ahead, and the size of inputs and value up to which they are."""

PAGE_BLOCKS = 4
PAGE_VALUE_BYTES = 1024
"""How many blocks a page is read from, and the size of values up to which they are in it."""

PLACES = 100_000
"""Places that are remembered of a run."""

_NAMES = ACTION_COLUMNS.split(", ")
_ID, _SEQ = _NAMES.index("id"), _NAMES.index("seq")
_SPAN = (
    f"SELECT id, CASE WHEN length(value) <= {PAGE_VALUE_BYTES} THEN value END, seq FROM actions "
    "WHERE run = ? AND seq > ? AND seq <= ? AND parent = ?"
)
_COLUMNS = ", ".join([f"a.{name}" for name in _NAMES] + ["t.name", "t.code"])


class LookupTables:
    """The temporary tables of one connection, one per run looked into."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._indexed: dict[int, int] = {}  # run -> largest seq in its table
        self._ahead: dict[int, dict[bytes, Columns]] = {}
        self._places: dict[int, dict[bytes, int]] = {}

    def find(self, run: int, ids: Sequence[bytes]) -> Iterator[Columns]:
        """Yield ``ACTION_COLUMNS``, task name and task code of the actions that have a row."""
        ahead, places = self._ahead.get(run, {}), self._places_of(run)
        placed = [places[id_] for id_ in ids if id_ in places]
        unknown = [id_ for id_ in ids if id_ not in ahead and id_ not in places]
        yield from [ahead.pop(id_) for id_ in dict.fromkeys(ids) if id_ in ahead]
        yield from self._at(run, placed)
        if unknown:
            yield from self._search(run, unknown)

    def _places_of(self, run: int) -> dict[bytes, int]:
        if run not in self._places:
            found = self._db.execute(
                "SELECT id, seq FROM actions WHERE run = ? AND seq = 1", (run,)
            )
            self._places[run] = dict(found.fetchall())
        return self._places[run]

    def _at(self, run: int, places: list[int]) -> list[Columns]:
        rows: list[Columns] = []
        for start in range(0, len(places), BATCH):
            batch = places[start : start + BATCH]
            rows += self._db.execute(
                f"SELECT {_COLUMNS} FROM main.actions AS a "
                "CROSS JOIN main.tasks AS t ON t.id = a.task "
                f"WHERE a.run = ? AND a.seq IN ({', '.join('?' * len(batch))})",
                (run, *batch),
            )
        return rows

    def _search(self, run: int, ids: Sequence[bytes]) -> Iterator[Columns]:
        self._extend(run)
        remaining = iter(ids)
        last = 0
        while batch := list(islice(remaining, BATCH)):
            found = self._db.execute(
                f"SELECT {_COLUMNS} FROM temp.lookup_{run:d} AS l "
                f"CROSS JOIN main.actions AS a ON a.run = ? AND a.seq = l.seq "
                "CROSS JOIN main.tasks AS t ON t.id = a.task "
                f"WHERE l.id IN ({', '.join('?' * len(batch))})",
                (run, *batch),
            ).fetchall()
            yield from found
            last = max((row[_SEQ] for row in found), default=last)
        if last and len(ids) > 1:
            self._read_ahead(run, last)

    def _read_ahead(self, run: int, seq: int) -> None:
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM main.actions AS a CROSS JOIN main.tasks AS t ON t.id = a.task "
            "WHERE a.run = ? AND a.seq > ? AND a.seq <= ? AND a.value IS NOT NULL "
            "AND length(a.inputs) + length(a.value) <= ?",
            (run, seq, seq + AHEAD, AHEAD_BYTES),
        )
        self._ahead[run] = {row[_ID]: row for row in rows.fetchall()}

    def page(self, run: int, parent: int, after: int, counted: int) -> Page:
        """Return the next recorded children of the one at ``parent``, of those after a place.

        Args:
            run: Key of the run.
            parent: Place of the parent.
            after: Children up to this place are left out.
            counted: How far the run's actions are counted in blocks: those without children of the
                parent are skipped.
        """
        newest = last_seq(self._db, run)
        blocks = self._db.execute(
            "SELECT DISTINCT block FROM tallies WHERE run = ? AND parent = ? AND block >= ? "
            "ORDER BY block LIMIT ?",
            (run, parent, (after + 1) // BLOCK, PAGE_BLOCKS),
        ).fetchall()
        spans = [(max(block * BLOCK - 1, after), (block + 1) * BLOCK - 1) for (block,) in blocks]
        last = len(spans) < PAGE_BLOCKS
        if last:
            spans.append((max(counted - 1, after), newest))
        told: dict[bytes, bytes] = {}
        others: dict[bytes, int] = {}
        for start, end in spans:
            for id_, value, seq in self._db.execute(_SPAN, (run, start, end, parent)):
                if value is None:
                    others[id_] = seq
                else:
                    told[id_] = value
        places = self._places_of(run)
        if len(places) + len(others) <= PLACES:
            places.update(others)
        return Page(
            ids=b"".join(told),
            values=list(told.values()),
            others=list(others),
            upto=spans[-1][1],
            last=last,
        )

    def drop(self, run: int) -> None:
        """Forget the run's table."""
        self._places.pop(run, None)
        self._ahead.pop(run, None)
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
