"""Counts of actions, so that questions about a run do not cost more the longer it gets.

How many actions are in which phase, and where the few are that a screen has room for, is asked many
times a second while a run is watched. An index or a counter that every row has to touch would slow
down every commit for that. Instead actions are counted by *block*, those of :data:`BLOCK`
consecutive places, by one statement when a block is full: a fraction of a microsecond per action.
What a reader wants is then in the table ``tallies`` and in the last places of the run, which have
not been counted yet; and the tallies of a block tell whether a search has to look into it at all.

Rows that change after their block was counted move between tallies in the transaction that
changes them. So the counts are exact at every moment, also after a crash.
"""

import sqlite3

from perdure._journal.rows import ACTION_COLUMNS, Columns
from perdure._journal.statements import insert

BLOCK = 1024
"""Places that are counted together. Never change it: existing journals are counted by it."""

_KEY = "run, parent, seq / 1024, task, kind, label, phase"
_HEAD = "INSERT INTO tallies (run, parent, block, task, kind, label, phase, count, seconds, first)"
_TAIL = (
    "ON CONFLICT DO UPDATE SET count = count + excluded.count, "
    "seconds = seconds + excluded.seconds, first = min(first, excluded.first)"
)
_COUNT = (
    f"{_HEAD} SELECT ?, parent, ?, task, kind, label, phase, count(*), total(ended - started), "
    "min(seq) FROM actions WHERE run = ? AND seq >= ? AND seq < ? "
    "GROUP BY parent, task, kind, label, phase"
)
_COLUMNS = ACTION_COLUMNS.split(", ")
_PARENT, _STARTED, _ENDED = (_COLUMNS.index(name) for name in ("parent", "started", "ended"))
_REST = tuple(_COLUMNS.index(name) for name in ("task", "kind", "label", "phase"))


def count_blocks(db: sqlite3.Connection, run: int, counted: int, newest: int) -> None:
    """Count the blocks that are full.

    Args:
        db: The journal, in the transaction that has filled them.
        run: Key of the run.
        counted: All actions with a smaller ``seq`` have been counted.
        newest: Largest ``seq`` of the run.
    """
    last, start = newest // BLOCK, counted
    if counted // BLOCK == last:
        return
    while (block := _block_of_next(db, run, start)) < last:
        start = (block + 1) * BLOCK
        db.execute(_COUNT, (run, block, run, block * BLOCK, start))
    db.execute("UPDATE runs SET counted = ? WHERE key = ?", (last * BLOCK, run))


def _block_of_next(db: sqlite3.Connection, run: int, start: int) -> int:
    query = "SELECT min(seq) FROM actions WHERE run = ? AND seq >= ?"
    (seq,) = db.execute(query, (run, start)).fetchone()
    return int(seq) // BLOCK


class Moves:
    """What a transaction changes in blocks that have been counted.

    Args:
        db: The journal, in the transaction.
        counted: How far each run is counted: see :func:`count_blocks`.
    """

    def __init__(self, db: sqlite3.Connection, counted: dict[int, int]) -> None:
        self._db = db
        self._counted = counted
        self._changes: dict[Columns, tuple[int, float, int]] = {}

    def replace(self, rows: dict[tuple[int, int], Columns]) -> None:
        """Actions are about to be written again.

        Args:
            rows: Their new ``ACTION_COLUMNS``, by run and seq.
        """
        query = f"SELECT {_KEY}, ended - started FROM actions WHERE run = ? AND seq = ?"
        for (run, seq), row in rows.items():
            if seq >= self._counted[run]:
                continue
            for *key, seconds in self._db.execute(query, (run, seq)):
                self._change(tuple(key), -1, -(seconds or 0.0), seq)
            parent, started, ended = row[_PARENT], row[_STARTED], row[_ENDED]
            seconds = 0.0 if started is None or ended is None else ended - started
            self._change((run, parent, seq // BLOCK, *(row[n] for n in _REST)), 1, seconds, seq)

    def end_open(self, run: int, phase: int, at: float) -> None:
        """All open actions of the run are about to end in that phase."""
        query = (
            f"SELECT {_KEY}, ifnull(? - started, 0), seq FROM actions INDEXED BY open_actions "
            "WHERE run = ? AND ended IS NULL AND seq < ?"
        )
        for *key, seconds, seq in self._db.execute(query, (at, run, self._counted[run])):
            self._change(tuple(key), -1, 0.0, seq)
            self._change((*key[:-1], phase), 1, seconds, seq)

    def write(self) -> None:
        """Bring the table up to date."""
        rows = [(*key, *change) for key, change in self._changes.items()]
        insert(self._db, _HEAD, rows, _TAIL)

    def _change(self, key: Columns, count: int, seconds: float, seq: int) -> None:
        before = self._changes.get(key, (0, 0.0, seq))
        self._changes[key] = (before[0] + count, before[1] + seconds, min(before[2], seq))
