"""Who holds what of a node, in the terms in which people asked for it."""

from collections.abc import Collection, Iterator
from heapq import nsmallest

from perdure._core.ledger import UNITS, Space, space_of
from perdure._core.model import Demand
from perdure._core.reasons import Amounts, Brief, Holder
from perdure._core.scheduling import Scheduler
from perdure._core.state import Action, Attempt
from perdure._core.workers import Worker

HOLDERS = 8
"""Of those who have what others wait for, so many are named."""

_BYTES = frozenset({"memory", "disk", "shm"})


def brief(action: Action) -> Brief:
    """Return an action in passing."""
    return Brief(
        run=action.run.name, number=action.seq, id=action.id.hex(), task=action.name or action.kind
    )


def amounts_of(space: Space) -> Amounts:
    """Return space in the terms in which it is asked for."""
    return {name: float(n) if name in _BYTES else n / UNITS for name, n in space}


def amounts(demand: Demand) -> Amounts:
    """Return what a demand asks for."""
    named = {"cpu": demand.cpu, "gpu": float(demand.gpu), **amounts_of(space_of(demand))}
    return {name: amount for name, amount in named.items() if amount}


def left(scheduler: Scheduler) -> Amounts:
    """Return what is free of each resource."""
    ledger, devices = scheduler.ledger, scheduler.staff.devices
    free = {"cpu": ledger.cpu / UNITS, **amounts_of(tuple(ledger.space.items()))}
    if devices.devices:
        free["gpu"] = sum(devices.left) / UNITS
    return free


def whole(scheduler: Scheduler) -> Amounts:
    """Return what there is of each resource."""
    capacity = scheduler.ledger.capacity
    total = {"cpu": capacity.cpu, **amounts_of(space_of(capacity))}
    if capacity.devices:
        total["gpu"] = float(len(capacity.devices))
    return total


def largest(found: Collection[Holder], total: Amounts) -> tuple[Holder, ...]:
    """Return those who have the largest parts of anything."""

    def part(each: Holder) -> float:
        return max((n / (total.get(name) or 1.0) for name, n in each.amounts.items()), default=0.0)

    return tuple(nsmallest(HOLDERS, found, key=lambda each: -part(each)))


def holders(scheduler: Scheduler, names: Collection[str]) -> Iterator[Holder]:
    """Yield who has some of these resources."""
    for worker in scheduler.staff.workers.values():
        for attempt, held, beside in _held(worker):
            has = {name: amount for name, amount in held.items() if name in names and amount}
            if has:
                yield holder(attempt, has, beside)


def holder(attempt: Attempt | None, has: Amounts, beside: int = 0) -> Holder:
    """Return that an attempt has something; None: a worker that does nothing."""
    action = attempt.action if attempt else None
    return Holder(
        action=brief(action) if action else None,
        amounts=has,
        since=(action.started or action.created) if action else None,
        waits=attempt is not None and attempt.blocked,
        beside=beside,
    )


def _held(worker: Worker) -> Iterator[tuple[Attempt | None, Amounts, int]]:
    """Yield what the worker holds, and for whom; see ``shares.py``."""
    attempts = worker.attempts.values()
    first = next((a for a in attempts if not a.blocked), None) or next(iter(attempts), None)
    held = {"cpu": worker.cpu / UNITS, **amounts_of(worker.space)}
    if worker.devices:
        held["gpu"] = float(worker.pool.gpu)
    if worker.pool.together:
        for demand in worker.shares:
            for name, amount in amounts_of(space_of(demand)).items():
                held[name] = held.get(name, 0.0) + amount
    yield first, held, max(0, len(attempts) - 1) if worker.pool.together else 0
    for attempt in attempts:
        if attempt.kept_space:
            yield attempt, amounts_of(attempt.kept_space), 0
