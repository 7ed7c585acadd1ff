"""Questions about where values came from and where they went.

Small values are known by the calls that passed them on, large ones by their digests: the table
``lineage`` tells which actions made and read a blob. Answers are by task, not by action: a hundred
calls of one task are one line with a count.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from perdure._core.model import Phase
from perdure._journal.codes import KINDS, PHASES
from perdure._journal.lineage import MADE, READ
from perdure._journal.rows import decode_origin
from perdure._views.connections import ReadConnections

MOST = 50_000
"""Blobs of a run that are looked at."""

WINDOW = 5_000
WINDOWS = 20
"""How many actions before another one are searched for what it was given, and in how many steps."""

_pack = msgspec.msgpack.Encoder().encode
_COUNTED = "(SELECT counted FROM runs WHERE key = :run)"
_TALLIES = (
    "SELECT parent, task, kind, phase, count, first FROM tallies WHERE run = :run UNION ALL "
    "SELECT parent, task, kind, phase, count(*), min(seq) FROM actions "
    f"WHERE run = :run AND seq >= {_COUNTED} GROUP BY parent, task, kind, phase"
)


class Call(NamedTuple):
    """Actions of one task that were called by those of another.

    Attributes:
        parent: Task of the callers, "" for the root.
        task: Task or step name.
        kind: ``task``, ``trace``, ``sleep``, ``condition`` or ``value``.
        phase: Where they stand.
        actions: How many.
        first: ``seq`` of one of them.
    """

    parent: str
    task: str
    kind: str
    phase: Phase
    actions: int
    first: int


class Link(NamedTuple):
    """Actions of one task that made or read a blob.

    Attributes:
        blob: Its digest.
        made: Whether the value of the actions refers to it, or else their inputs.
        task: Task or step name.
        parent: Task of those that called them, "" for the root.
        seq: Of one of them.
        actions: How many.
    """

    blob: bytes
    made: bool
    task: str
    parent: str
    seq: int
    actions: int


class Origin(NamedTuple):
    """Where a blob was made.

    Attributes:
        blob: Its digest.
        run: Name of the run.
        task: Task or step name.
        seq: Of the action.
    """

    blob: bytes
    run: str
    task: str
    seq: int


class LineageViews:
    """What made what, within a run and across runs.

    Args:
        db: Connections to the journal.
    """

    def __init__(self, db: ReadConnections) -> None:
        self._db = db

    def calls(self, run: int) -> list[Call]:
        """Return what called what in a run, in the order of the first of each."""
        found = self._db.rows(
            "SELECT ifnull(pt.name, ''), t.name, c.kind, c.phase, sum(c.count), min(c.first) "
            f"FROM ({_TALLIES}) AS c JOIN tasks AS t ON t.id = c.task "
            "LEFT JOIN actions AS p ON p.run = :run AND p.seq = c.parent "
            "LEFT JOIN tasks AS pt ON pt.id = p.task "
            "GROUP BY 1, 2, 3, 4 HAVING sum(c.count) ORDER BY min(c.first)",
            run=run,
        )
        return [
            Call(parent, task, KINDS[kind], PHASES[phase], count, first)
            for parent, task, kind, phase, count, first in found
        ]

    def links(self, run: int) -> list[Link]:
        """Return which tasks of a run made and read which blobs.

        What an action took from the cache, it did not make.
        """
        found = self._db.rows(
            "SELECT l.blob, l.role, t.name, ifnull(pt.name, ''), min(l.seq), count(*) "
            "FROM lineage AS l JOIN actions AS a ON a.run = l.run AND a.seq = l.seq "
            "JOIN tasks AS t ON t.id = a.task "
            "LEFT JOIN actions AS p ON p.run = a.run AND p.seq = a.parent "
            "LEFT JOIN tasks AS pt ON pt.id = p.task "
            f"WHERE l.run = ? AND (l.role <> {MADE} OR a.origin IS NULL) "
            "GROUP BY 1, 2, 3, 4 ORDER BY min(l.seq) LIMIT ?",
            run,
            MOST,
        )
        return [
            Link(blob, role == MADE, task, parent, seq, count)
            for blob, role, task, parent, seq, count in found
        ]

    def origin(self, blob: bytes, not_in: int) -> Origin | None:
        """Return the action that first made a blob, in another run than that one."""
        found = self._db.rows(
            "SELECT r.name, t.name, l.seq FROM lineage AS l JOIN runs AS r ON r.key = l.run "
            "JOIN actions AS a ON a.run = l.run AND a.seq = l.seq "
            "JOIN tasks AS t ON t.id = a.task "
            f"WHERE l.blob = ? AND l.role = {MADE} AND l.run <> ? "
            "ORDER BY l.run, a.ended, l.seq DESC LIMIT 1",
            blob,
            not_in,
        )
        return Origin(blob, *found[0]) if found else None

    def readers(self, run: int, limit: int) -> list[int]:
        """Return the runs that read a blob which this one was the first to make."""
        found = self._db.rows(
            "SELECT DISTINCT other.run FROM lineage AS own "
            "JOIN lineage AS other ON other.blob = own.blob AND other.run <> own.run "
            f"WHERE own.run = ? AND own.role = {MADE} AND other.role = {READ} "
            "AND NOT EXISTS (SELECT 1 FROM lineage AS earlier WHERE earlier.blob = own.blob "
            f"AND earlier.role = {MADE} AND earlier.run < own.run) "
            "AND NOT EXISTS (SELECT 1 FROM lineage AS made WHERE made.blob = own.blob "
            f"AND made.role = {MADE} AND made.run = other.run) ORDER BY 1 LIMIT ?",
            run,
            limit,
        )
        return [int(key) for (key,) in found]

    def users(self, blob: bytes, limit: int) -> list[int]:
        """Return the runs that have anything to do with a blob."""
        query = "SELECT DISTINCT run FROM lineage WHERE blob = ? ORDER BY run LIMIT ?"
        return [int(key) for (key,) in self._db.rows(query, blob, limit)]

    def cached(self, run: int) -> list[tuple[str, str]]:
        """Return ``(task, run)`` for the values that a run took from the cache: who made them."""
        found = self._db.rows(
            "SELECT DISTINCT t.name, a.origin FROM actions AS a INDEXED BY cached_actions "
            "JOIN tasks AS t ON t.id = a.task WHERE a.run = ? AND a.origin IS NOT NULL LIMIT ?",
            run,
            MOST,
        )
        pairs = [(task, decode_origin(origin)) for task, origin in found]
        return list(dict.fromkeys((task, each.run) for task, each in pairs if each is not None))

    def cached_elsewhere(self, name: str, limit: int) -> list[int]:
        """Return the runs that took values from the cache which this one had made."""
        start = _pack([name, b""])[:-2]  # an origin begins with the name of its run
        found = self._db.rows(
            "SELECT DISTINCT run FROM actions INDEXED BY cached_values "
            "WHERE origin >= ? AND origin < ? ORDER BY run LIMIT ?",
            start,
            start + b"\xff",
            limit,
        )
        return [int(key) for (key,) in found]

    def reruns(self, name: str, limit: int) -> list[int]:
        """Return the runs that were started as reruns of this one."""
        query = "SELECT key FROM runs WHERE parent = ? ORDER BY key LIMIT ?"
        return [int(key) for (key,) in self._db.rows(query, name, limit)]

    def samples(self, run: int) -> list[tuple[str, int, int, bytes]]:
        """Return task, ``seq``, parent's ``seq`` and encoded inputs of a few calls of each task."""
        places = self._db.rows(
            f"SELECT min(first), max(first) FROM ({_TALLIES}) "
            "WHERE kind = 0 AND count GROUP BY task",
            run=run,
        )
        seqs = sorted({int(seq) for pair in places for seq in pair})
        return [
            row
            for start in range(0, len(seqs), 500)
            for row in self._db.rows(
                "SELECT t.name, a.seq, a.parent, a.inputs FROM actions AS a "
                "JOIN tasks AS t ON t.id = a.task "
                f"WHERE a.run = ? AND a.seq IN ({_marks(seqs[start : start + 500])})",
                run,
                *seqs[start : start + 500],
            )
        ]

    def tasks_of(self, run: int, ids: Iterable[bytes], before: int) -> dict[bytes, str]:
        """Return the tasks of actions by id, those of them that are found not far before a place.

        There is no index of ids; but what is passed on as a future was mostly made a moment before.
        """
        wanted: set[bytes] = set(ids)
        found: dict[bytes, str] = {}
        end = before + WINDOW  # what was recorded at about the same time
        for _ in range(WINDOWS):
            if not wanted or end <= 1:
                break
            start = max(end - WINDOW, 1)
            rows = self._db.rows(
                "SELECT a.id, t.name FROM actions AS a JOIN tasks AS t ON t.id = a.task "
                f"WHERE a.run = ? AND a.seq >= ? AND a.seq < ? AND a.id IN ({_marks(wanted)})",
                *(run, start, end, *wanted),
            )
            found.update(rows)
            wanted -= found.keys()
            end = start
        return found

    def names(self, keys: Sequence[int]) -> dict[int, str]:
        """Return the names of runs by key."""
        query = f"SELECT key, name FROM runs WHERE key IN ({_marks(keys)})"
        return dict(self._db.rows(query, *keys)) if keys else {}


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)
