"""What an action waits for in a queue, in plain data."""

import msgspec

from perdure._core.holders import HOLDERS, brief
from perdure._core.machine import Machine
from perdure._core.queues import Entrant, Queue
from perdure._core.reasons import NoSlot, QueueFull
from perdure._core.sharing import QueueLimits, Stake
from perdure._core.state import Action, Attempt
from perdure._core.transitions import Stage


class Holder(msgspec.Struct, frozen=True):
    """Who has a slot of a queue.

    Attributes:
        run: Name of the run.
        action: Id of the action; that of the root if the run has been admitted by the queue.
        name: Its name.
    """

    run: str
    action: bytes
    name: str


class QueuePlace(msgspec.Struct, frozen=True):
    """The place of an action in a queue.

    Attributes:
        queue: Name of the queue.
        position: 1 is the next one, of those that this controller has; turns that others have
            because they went without for long can change it.
        waiting: How many wait there, in this controller.
        limits: What holds for the queue; None: it is not known yet.
        holders: Who has its slots in this controller.
        others: What other controllers have of it.
        next_start: When there may be another start, in wall-clock seconds, if its rate is what is
            waited for; or 0.
    """

    queue: str
    position: int
    waiting: int
    limits: QueueLimits | None
    holders: tuple[Holder, ...]
    others: tuple[Stake, ...]
    next_start: float = 0.0


def waiting_in_queue(machine: Machine, action: Action) -> QueuePlace | None:
    """Return the place of an action that waits for a slot of a queue, or for a start there.

    Args:
        machine: The controller that has it.
        action: Ready, blocked and about to go on, or the root of a run that is to be admitted.

    Returns:
        None if it does not wait for a queue.
    """
    queue = queue_of(action)
    if queue is None:
        return None
    resuming = sorted((attempt.action for attempt in queue.resuming.values()), key=_age)
    ready = [] if queue.may_start(action.run) else _ready(machine, queue)
    waiting = [*resuming, *ready]
    return (
        _place(machine, queue, waiting.index(action), len(waiting)) if action in waiting else None
    )


def waiting_to_enter(machine: Machine, entrant: Entrant) -> QueuePlace | None:
    """Return the place of a run that is asleep; None if it is being taken up."""
    ready = _ready(machine, entrant.queue)
    if entrant not in ready:
        return None
    first = len(entrant.queue.resuming)
    return _place(machine, entrant.queue, first + ready.index(entrant), first + len(ready))


def _place(machine: Machine, queue: Queue, index: int, waiting: int) -> QueuePlace:
    return QueuePlace(
        queue=queue.name,
        position=index + 1,
        waiting=waiting,
        limits=queue.limits,
        holders=_holders(machine, queue),
        others=queue.others,
        next_start=queue.next_start if queue.is_rated and not queue.tokens else 0.0,
    )


def queue_of(action: Action) -> Queue | None:
    """Return the queue that an action may wait in."""
    if action.is_entrant:
        return action.run.queue
    return action.task.lane.queue if action.task is not None else None


def _ready(machine: Machine, queue: Queue) -> list[Action | Entrant]:
    """Return what waits to start there, in order; of runs that are asleep the place."""
    found = [
        action
        for run in machine.runs.values()
        for action in run.actions.values()
        if action.stage is Stage.QUEUED and queue_of(action) is queue
    ]
    return sorted([*found, *queue.asleep], key=_turn)


def _turn(waiting: Action | Entrant) -> tuple[int, int, tuple[int, ...]]:
    if isinstance(waiting, Entrant):
        return -waiting.priority, 0, (waiting.index,)
    return -waiting.run.priority, waiting.run.running, waiting.order


def _holders(machine: Machine, queue: Queue) -> tuple[Holder, ...]:
    holding = _holding(machine, queue)
    return tuple(Holder(each.run.name, each.id, each.name) for each in holding)


def _holding(machine: Machine, queue: Queue) -> list[Action]:
    """Return the actions that have slots of the queue, and roots of runs that have, by age."""
    attempts = machine.scheduler.attempts.values()
    found = [each.action for each in attempts if each.slot and queue_of(each.action) is queue]
    for run in machine.runs.values():
        root = run.actions.get(run.root)
        if queue.lends(run) and root is not None:
            found.append(root)
    return sorted(found, key=_age)


def _age(action: Action) -> tuple[int, ...]:
    return action.order


def held_back(attempt: Attempt) -> QueueFull | None:
    """Return that a call of the attempt is held back, if that is what it waits for."""
    wishes = [w for w in (attempt.wishes or {}).values() if w.number and not w.granted]
    wish = next((w for w in wishes if attempt.awaits in (b"", w.id)), None)
    if wish is None or not attempt.blocked:
        return None
    queue = wish.queue
    return QueueFull(
        queue=queue.name,
        task=wish.task,
        waiting=queue.calls + len(queue.wishes.promised),
        depth=queue.limits.depth if queue.limits is not None else 0,
        ahead=queue.wishes.ahead(wish),
        open=len(attempt.action.children or ()),
    )


def first_in(machine: Machine, queue: str) -> Action | None:
    """Return the action that waits in the queue of that name and is the next to start there."""
    found = machine.scheduler.queues.get(queue)
    for each in _ready(machine, found) if found is not None else ():
        if isinstance(each, Action) and not each.is_entrant:
            return each
    return None


def no_slot(machine: Machine, place: QueuePlace) -> NoSlot:
    """Return a place in a queue as the reason of waiting that it is."""
    queue = machine.scheduler.queues.get(place.queue)
    assert queue is not None
    return NoSlot(
        queue=place.queue,
        position=place.position,
        waiting=place.waiting,
        concurrency=place.limits.concurrency if place.limits else 0,
        holders=tuple(brief(action) for action in _holding(machine, queue)[:HOLDERS]),
        elsewhere=sum(stake.held for stake in place.others),
        next_start=place.next_start or None,
    )
