"""Questions about conditions: what runs wait for people to answer."""

import msgspec

from perdure._core.model import Outcome
from perdure._journal.codes import KIND_NUMBERS
from perdure._journal.rows import decode_failure
from perdure._views.connections import ReadConnections

_KIND = KIND_NUMBERS["condition"]
_OPEN = "FROM actions INDEXED BY open_actions WHERE run = :run AND ended IS NULL"
_WAITS = (
    f"SELECT EXISTS (SELECT 1 {_OPEN} AND kind = {_KIND}) AND NOT EXISTS (SELECT 1 {_OPEN} "
    f"AND kind NOT IN ({_KIND}, {KIND_NUMBERS['sleep']}) AND seq NOT IN (SELECT parent {_OPEN}))"
)


class ConditionView(msgspec.Struct, frozen=True, kw_only=True):
    """A condition.

    Attributes:
        seq: Place in the run.
        id: Identity, 16 bytes.
        name: Its name.
        inputs: Encoded: the question, and what an answer must be.
        created: When it was first asked, in wall-clock seconds.
        wake_at: When the time for an answer is over.
        ended: When it got its outcome, None while it is open.
        outcome: The answer, or why there is none.
    """

    seq: int
    id: bytes
    name: str
    inputs: bytes
    created: float
    wake_at: float | None
    ended: float | None
    outcome: Outcome | None


class ConditionViews:
    """Questions about the conditions of one journal."""

    def __init__(self, db: ReadConnections) -> None:
        self._db = db

    def waits(self, run: int) -> bool:
        """Whether a run waits for an answer: all that goes on in it does, or sleeps."""
        return any(found for (found,) in self._db.rows(_WAITS, run=run))

    def open(self, run: int) -> list[ConditionView]:
        """Return the conditions that wait for an answer, those first that were asked first."""
        return self._found("INDEXED BY open_actions", "a.ended IS NULL", run)

    def ended(self, run: int, name: str) -> list[ConditionView]:
        """Return those of a name that have their outcome, in the order of asking."""
        return self._found("", "a.ended IS NOT NULL AND t.name = ?", run, name)

    def _found(self, index: str, which: str, run: int, *parameters: object) -> list[ConditionView]:
        rows = self._db.rows(
            "SELECT a.seq, a.id, t.name, a.inputs, a.created, a.wake_at, a.ended, a.value, "
            f"a.failure FROM actions AS a {index} JOIN tasks AS t ON t.id = a.task "
            f"WHERE a.run = ? AND {which} AND a.kind = {_KIND} ORDER BY a.seq",
            run,
            *parameters,
        )
        return [
            ConditionView(
                seq=seq,
                id=id_,
                name=name,
                inputs=inputs,
                created=created,
                wake_at=wake_at,
                ended=ended,
                outcome=None
                if ended is None
                else Outcome(value, None if failure is None else decode_failure(failure)),
            )
            for seq, id_, name, inputs, created, wake_at, ended, value, failure in rows
        ]
