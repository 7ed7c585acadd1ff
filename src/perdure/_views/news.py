"""What has happened in a run since one last looked, for those who tell others about it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from perdure._core.model import Failure, Phase
from perdure._journal.codes import KINDS, PHASES
from perdure._journal.rows import decode_failure
from perdure._views.connections import ReadConnections

_COLUMNS = (
    "a.seq, a.id, a.parent, t.name, a.kind, a.phase, a.created, a.started, a.ended, a.inputs, "
    "a.value, a.failure"
)
_FROM = "FROM actions AS a JOIN tasks AS t ON t.id = a.task WHERE a.run = ?"


class ActionNews(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An action as it is recorded now.

    Attributes:
        seq: Place in the run, from 1.
        id: Identity.
        parent: ``seq`` of the parent, 0 for the root.
        task: Task or step name.
        kind: ``task``, ``trace``, ``sleep``, ``condition`` or ``value``.
        phase: As recorded.
        created: Wall-clock seconds; ``started`` and ``ended`` likewise, None when not reached.
        inputs: Encoded inputs.
        value: Encoded value, or None.
        failure: Why it failed, or None.
    """

    seq: int
    id: bytes
    parent: int
    task: str
    kind: str
    phase: Phase
    created: float
    started: float | None
    ended: float | None
    inputs: bytes
    value: bytes | None
    failure: Failure | None


class News:
    """The actions of runs in the order of their places.

    Args:
        db: Connections to the journal.
    """

    def __init__(self, db: ReadConnections) -> None:
        self._db = db

    def after(self, run: int, seq: int, limit: int) -> list[ActionNews]:
        """Return the next actions after a place, finished or not."""
        return self._rows("AND a.seq > ? ORDER BY a.seq LIMIT ?", run, seq, limit)

    def at(self, run: int, seqs: Sequence[int]) -> list[ActionNews]:
        """Return the actions at these places."""
        if not seqs:
            return []
        return self._rows(f"AND a.seq IN ({', '.join('?' * len(seqs))})", run, *seqs)

    def ended_since(self, run: int, at: float, upto: int) -> list[ActionNews]:
        """Return the actions up to a place that ended after a moment. Looks at all of them."""
        return self._rows("AND a.seq <= ? AND a.ended >= ? ORDER BY a.seq", run, upto, at)

    def last(self, run: int) -> int:
        """Return the largest place of the run, 0 if it has no actions."""
        found = self._db.rows("SELECT max(seq) FROM actions WHERE run = ?", run)
        return int(found[0][0] or 0) if found else 0

    def _rows(self, tail: str, run: int, *parameters: object) -> list[ActionNews]:
        rows = self._db.rows(f"SELECT {_COLUMNS} {_FROM} {tail}", run, *parameters)
        return [_news(row) for row in rows]


def _news(columns: tuple[Any, ...]) -> ActionNews:
    seq, id_, parent, task, kind, phase, created, started, ended, inputs, value, failure = columns
    return ActionNews(
        seq=seq,
        id=id_,
        parent=parent,
        task=task,
        kind=KINDS[kind],
        phase=PHASES[phase],
        created=created,
        started=started,
        ended=ended,
        inputs=inputs,
        value=value,
        failure=None if failure is None else decode_failure(failure),
    )
