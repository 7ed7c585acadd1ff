"""Waiting for something outside: a moment in time, or somebody's answer.

A durable sleep ends at its time. A condition ends with the first signal that comes for it, or when
its time is over. Both are written as soon as they begin: a crash does not move their time, and
whoever is to answer a condition finds it in the journal, from any process.

The answer is the condition's outcome, recorded like any other, and once: by the controller that
drives the run, or, if nobody does, by the process that has it, under a lease taken for that moment.
A run that was resumed asks its conditions again; an answer that comes before it does is recorded
all the same, and waits in ``Run.answers`` for a question that may be on its way already.
"""

from copy import copy

from perdure._core import failures
from perdure._core.lifecycle import Lifecycle
from perdure._core.model import Outcome, phase_of
from perdure._core.records import ActionRow, EventRow
from perdure._core.rows import NOTHING, is_unfinished, row_of
from perdure._core.state import Action, Run
from perdure._core.transitions import Stage

CONDITION = "condition"

ANSWERED = "it has its answer, or does not wait for one any more"


class Outside:
    """Begins and ends what only something outside brings to an end."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle

    def begin(self, action: Action) -> None:
        """Wait from now on, or go on waiting."""
        if action.stage is Stage.RECALLING:
            action.move(Stage.WAITING)
        asks = action.kind == CONDITION
        if asks:
            action.started = action.created
        rows = self.lifecycle.effects.rows
        if asks or not action.seq:  # a condition that has failed is an open question again
            rows.append(row_of(action, rows))
        if action.wake_at is not None:
            self.lifecycle.later(action, action.wake_at, self._over, action)
            self.lifecycle.naps.append(action)

    def _over(self, action: Action) -> None:
        """Its time has come."""
        if is_unfinished(action):
            unanswered = Outcome(failure=failures.unanswered(action.name))
            self.lifecycle.finish(action, unanswered if action.kind == CONDITION else NOTHING)

    def signal(self, run: Run, row: ActionRow, outcome: Outcome, by: str) -> str:
        """Somebody answers a condition; return why that cannot be, "" if it can.

        Args:
            run: Its run.
            row: What is recorded of the condition: it is open, unless that has just changed.
            outcome: The answer.
            by: Who gave it.
        """
        action = run.actions.get(row.id)
        rows, now = self.lifecycle.effects.rows, self.lifecycle.now
        if action is not None and action.stage is Stage.WAITING and action.started is not None:
            rows.append(told(run.key, action.seq, by, now))
            self.lifecycle.finish(action, outcome)
            return ""
        if action is not None and action.stage is not Stage.RECALLING:
            return ANSWERED
        if run.closed or row.id in run.answers or row.id in run.recent:
            return ANSWERED
        run.answers[row.id] = outcome
        rows += answered(row, outcome, by, now)
        return ""


def answered(row: ActionRow, outcome: Outcome, by: str, now: float) -> tuple[ActionRow, EventRow]:
    """Return what is to be recorded of a condition that is answered, and of who did."""
    row = copy(row)
    row.fresh, row.outcome, row.phase, row.ended = False, outcome, phase_of(outcome), now
    row.blobs = (*row.blobs, *outcome.blobs)
    return row, told(row.run, row.seq, by, now)


def told(run: int, seq: int, by: str, now: float) -> EventRow:
    """Return the notice of who has answered."""
    return EventRow(run=run, seq=seq, at=now, kind="signal", text=f"answered by {by}")
