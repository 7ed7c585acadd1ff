"""Explaining: why an action has no outcome yet, down to what holds it up in the end.

An action that waits for others has their reasons, in the end: a chain of links leads from the one
that was asked about to one that waits for nothing but a worker, a moment, or its own code. Where an
action waits for several, the chain follows the one that is furthest: if that is done, it is the
next one's turn; and what is executed longest is what people want to know of first.

The loop of the controller is held up meanwhile, so nothing is looked at that could be many: of a
hundred thousand children, some hundreds are.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from perdure._core.holders import brief
from perdure._core.impediments import impediment, place_in_line, resuming
from perdure._core.lines import first_in, held_back, no_slot, waiting_in_queue
from perdure._core.machine import Machine
from perdure._core.outside import CONDITION
from perdure._core.reasons import (
    Asleep,
    BackingOff,
    Children,
    HeldBack,
    Inputs,
    JournalAsked,
    Link,
    Reason,
    Recorded,
    Running,
    SameKey,
    Stopping,
    Unanswered,
    Unexplained,
)
from perdure._core.rows import is_unfinished
from perdure._core.state import Action, Attempt
from perdure._core.transitions import PHASES, Stage

LOOKED_AT = 500
"""Of those that an action waits for, so many are looked at."""

LONGEST = 200
"""Links of a chain: more than tasks can be nested, with a few turns to other runs."""

_FURTHEST = (
    Stage.RUNNING,
    Stage.AUDITING,
    Stage.QUEUED,
    Stage.RETRYING,
    Stage.PARKED,
    Stage.CONSULTING,
    Stage.WAITING,
    Stage.RECALLING,
    Stage.COMMITTING,
)


def explain(machine: Machine, action: Action, pids: Mapping[int, int]) -> tuple[Link, ...]:
    """Return what the action waits for, what that waits for, and so on.

    Args:
        machine: After placement.
        action: One without a recorded outcome.
        pids: Processes of the workers that have said Hello, by their numbers.
    """
    links: list[Link] = []
    seen: set[tuple[int, bytes]] = set()
    here: Action | None = action
    while here is not None and len(links) < LONGEST and (here.run.key, here.id) not in seen:
        seen.add((here.run.key, here.id))
        reason, there = reason_of(machine, here, pids)
        links.append(_link(here, reason))
        here = there
    return tuple(links)


def reason_of(
    machine: Machine, action: Action, pids: Mapping[int, int]
) -> tuple[Reason, Action | None]:
    """Return what the action itself waits for, and the action that is, if it is one."""
    if (place := waiting_in_queue(machine, action)) is not None:
        return no_slot(machine, place), None
    match action.stage:
        case Stage.RUNNING if action.attempt is not None:
            return _on_worker(machine, action, action.attempt, pids)
        case Stage.PARKED if waited := _children(action, None):
            return waited
        case Stage.QUEUED if action.task is not None:
            return impediment(machine.scheduler, action.task.lane, pids), None
        case Stage.WAITING:
            return _waiting(action)
        case Stage.CONSULTING:
            return _consulting(machine, action)
        case Stage.RETRYING:
            return BackingOff(until=action.queued_at), None
        case Stage.RECALLING:
            return JournalAsked(), None
        case Stage.AUDITING | Stage.COMMITTING:
            return Recorded(), None
    return Unexplained(), None


def _link(action: Action, reason: Reason) -> Link:
    number = action.number if action.attempt is not None else action.charged + action.total_losses
    return Link(
        action=brief(action),
        phase=PHASES[action.stage],
        attempt=max(0, number),
        reason=reason,
        line=place_in_line(action) if action.stage is Stage.QUEUED else None,
    )


# --- on a worker ----------------------------------------------------------------------------------


def _on_worker(
    machine: Machine, action: Action, attempt: Attempt, pids: Mapping[int, int]
) -> tuple[Reason, Action | None]:
    worker = attempt.worker
    pid = pids.get(worker.number, 0)
    if action.ending:
        return Stopping(worker=worker.number, pid=pid, why=action.ending), None
    if attempt.resuming:
        return resuming(machine.scheduler, attempt), None
    if (held := held_back(attempt)) is not None:
        return held, first_in(machine, held.queue)
    if attempt.blocked and any(not wish.number for wish in (attempt.wishes or {}).values()):
        return JournalAsked(), None
    if attempt.blocked and (waited := _children(action, attempt)):
        return waited
    behind = 0
    if not worker.pool.is_async and not attempt.blocked:
        ahead = (each for each in worker.attempts.values() if not each.blocked)
        behind = next((n for n, each in enumerate(ahead) if each is attempt), 0)
    running = Running(
        worker=worker.number,
        pid=pid,
        since=action.started or action.created,
        behind=behind,
        alone=len(worker.attempts) == 1,
    )
    return running, None


def _children(action: Action, attempt: Attempt | None) -> tuple[Children, Action] | None:
    """Return which calls the action waits for; None if it is about to see their outcomes."""
    looked_at = list(islice((action.children or {}).values(), LOOKED_AT))
    waited = [child for child in looked_at if is_unfinished(child)]
    if not waited and attempt is None:
        waited = looked_at  # an outcome is being recorded, and wakes it then
    if not waited:
        return None
    phases: dict[str, int] = {}
    if len(looked_at) < LOOKED_AT:
        for child in waited:
            phase = PHASES[child.stage]
            phases[phase] = phases.get(phase, 0) + 1
    calls = open_ = len(action.children or ())
    awaited = None
    if attempt is not None:
        told = attempt.recollection.claims if attempt.recollection is not None else 0
        calls = max(open_, attempt.calls + told)
        awaited = action.children.get(attempt.awaits) if action.children else None
    if awaited is None or not is_unfinished(awaited):
        awaited = _furthest(waited)
    return Children(open=open_, calls=calls, phases=phases), awaited


def _furthest(actions: Iterable[Action]) -> Action:
    """Return the action that has come furthest, of several the one for which that is longest."""
    return min(actions, key=lambda each: (_FURTHEST.index(each.stage), each.started or 0.0))


# --- not ready ------------------------------------------------------------------------------------


def _waiting(action: Action) -> tuple[Reason, Action | None]:
    if action.missing:
        there = [each for each in islice(_inputs(action), LOOKED_AT) if is_unfinished(each)]
        reason = Inputs(open=action.missing, inputs=len(action.needs))
        return reason, _furthest(there) if there else None
    if action.kind == CONDITION:
        return Unanswered(until=action.wake_at), None
    if action.kind == "sleep" and action.wake_at is not None:
        return Asleep(until=action.wake_at), None
    return (HeldBack() if action.timers else Unexplained()), None


def _inputs(action: Action) -> Iterator[Action]:
    """Yield the actions whose outcomes are inputs."""
    there = action.run.actions
    return (there[need] for need in action.needs if need in there)


def _consulting(machine: Machine, action: Action) -> tuple[Reason, Action | None]:
    known = action.cache
    if known is None or not known.key:
        return JournalAsked(), None
    holder = machine.caching.holders.get(known.key)
    if holder is not None and holder is not action:
        return SameKey(key=known.key.hex(), holder=brief(holder)), holder
    if known.pause:
        return SameKey(key=known.key.hex(), holder=None), None
    return JournalAsked(), None
