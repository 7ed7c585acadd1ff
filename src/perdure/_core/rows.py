"""Records of the core's objects, and the rule that keeps ancestors written."""

from perdure._core.keys import note_of
from perdure._core.model import Failure, Outcome, phase_of
from perdure._core.records import ActionRow, AttemptRow, Row
from perdure._core.state import Action, Run
from perdure._core.transitions import PHASES, Stage

SHOWN_AGE = 0.2
"""Seconds an action runs before people can see it running."""

SHOWN_QUEUED_AGE = 1.0
SHOWN_LIMIT = 500
"""Rows at a time: showing a backlog must not cost what running it costs."""


def place_of(action: Action, out: list[Row]) -> int:
    """Return the action's place in the journal; write it and its ancestors first if they have none.

    An action with a recorded descendant therefore always has a row itself: a call that finds no
    row knows, without asking, that nothing below it is recorded either.
    """
    if not action.seq:
        out.append(row_of(action, out))
    return action.seq


def row_of(action: Action, out: list[Row]) -> ActionRow:
    """Return the action's row as of now, giving it a place if it has none."""
    run, task, outcome = action.run, action.task, action.outcome
    parent = place_of(action.parent, out) if action.parent else 0
    fresh = not action.seq
    if fresh:
        action.seq = run.next_seq
        run.next_seq += 1
    phase = phase_of(outcome) if outcome else PHASES[action.stage]
    blobs = action.blobs
    if outcome and outcome.blobs:
        blobs = (*blobs, *outcome.blobs)
    known = action.cache
    return ActionRow(
        run=run.key,
        seq=action.seq,
        id=action.id,
        parent=parent,
        task=action.name,
        created=action.created,
        fresh=fresh,
        code=task.spec.code if task else b"",
        kind=action.kind,
        phase=phase,
        inputs=action.inputs,
        outcome=outcome,
        started=action.started,
        ended=action.ended,
        attempts=action.charged,
        losses=action.total_losses,
        worker=action.worker,
        log=action.log,
        group=action.group,
        wake_at=action.wake_at,
        blobs=blobs,
        origin=None if known is None else known.origin,
        cache=None if known is None else note_of(action, known),
    )


def attempt_row(action: Action, failure: Failure, ended: float, out: list[Row]) -> AttemptRow:
    """Return the row of an attempt that did not end its action."""
    return AttemptRow(
        run=action.run.key,
        seq=place_of(action, out),
        number=action.charged + action.total_losses - 1,
        failure=failure,
        started=action.started or ended,
        ended=ended,
        worker=action.worker,
        log=action.log,
    )


def is_unfinished(action: Action) -> bool:
    """Whether the action's outcome is still open."""
    return action.stage not in (Stage.COMMITTING, Stage.COMMITTED)


NOTHING = Outcome(value=b"\x00\xc0")
"""Outcome of a durable sleep: None, encoded as :mod:`perdure._serde` does."""


def show_unfinished(run: Run, now: float, out: list[Row]) -> None:
    """Write unfinished actions that are old enough to be looked at."""
    _show(run.dirty, SHOWN_AGE, now, out)
    _show(run.backlog, SHOWN_QUEUED_AGE, now, out)


def _show(unwritten: dict[bytes, Action], min_age: float, now: float, out: list[Row]) -> None:
    """Write the oldest of these actions that have reached the age."""
    written: list[Action] = []
    for action in unwritten.values():
        age = now - (action.started or action.created)
        if age < min_age or len(written) >= SHOWN_LIMIT:
            break
        written.append(action)
    for action in written:
        del unwritten[action.id]
        out.append(row_of(action, out))
