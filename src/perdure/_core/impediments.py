"""Impediments: what keeps ready actions from a worker, seen from outside after placement.

This is ``Scheduler.place`` read backwards, and changes nothing: what placement has left in a lane,
it has left there for one of these reasons. The actions of a lane are interchangeable, so the lane
has the reason, and its actions only differ in their places.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from heapq import heappop
from itertools import islice
from typing import NamedTuple

from perdure._core.holders import HOLDERS, amounts, brief, holder, holders, largest, left, whole
from perdure._core.model import MANY
from perdure._core.reasons import (
    Line,
    MemoryScarce,
    Next,
    NoneFree,
    NoRoom,
    NoWorker,
    Reason,
    Unexplained,
)
from perdure._core.reserve import Reserve
from perdure._core.scheduling import Scheduler
from perdure._core.state import Action, Attempt, Lane, RunQueue
from perdure._core.transitions import Stage
from perdure._core.workers import Pool, Worker

LOOKED_AT = 10_000
"""Of its siblings, so many that are ahead of an action are counted."""

GROUPS = 1000
"""Of groups of siblings, so many."""


class Impediment(NamedTuple):
    """What keeps the actions of a lane from workers, as placement sees it.

    Attributes:
        lane: The lane.
        lacking: Names of the resources of which too little is left.
        claimed: Of those that older work waits for, and that it must leave alone.
        elder: The lane of that work; None: parents that wait for their cores.
        full: Older work waits for workers of the same pool, and there may be no more.
    """

    lane: Lane
    lacking: frozenset[str] = frozenset()
    claimed: frozenset[str] = frozenset()
    elder: Lane | None = None
    full: bool = False


def impediments(scheduler: Scheduler) -> list[Impediment]:
    """Return what keeps those that are ready from workers: go through the lanes as placement does.

    Args:
        scheduler: After placement.
    """
    reserve = Reserve(scheduler.ledger)
    found, full, elders = list[Impediment](), list[Pool](), list[tuple[Lane, set[str]]]()
    if scheduler.resuming:
        reserve.wanted.add("cpu")
    for lane in scheduler.lanes.in_order():
        if lane.pool in full:
            found.append(Impediment(lane, full=True))
            continue
        leaves, lacking = reserve.leaves(lane), scheduler.lacking(lane)
        claimed = frozenset(reserve.wanted & lane.share.names)
        elder = next((elder for elder, names in elders if names & claimed), None)
        found.append(Impediment(lane, frozenset(lacking), claimed, elder))
        if not leaves:
            if not reserve.is_kept:
                reserve.keep(lane, set())
        elif lacking:
            reserve.keep(lane, lacking)
            elders.append((lane, lacking))
        elif lane.pool.full:
            full.append(lane.pool)
    reserve.give_back()
    return found


def impediment(scheduler: Scheduler, lane: Lane, pids: Mapping[int, int]) -> Reason:
    """Return what keeps the lane's first action from a worker."""
    there = next((each for each in impediments(scheduler) if each.lane is lane), None)
    return Unexplained() if there is None else reason_of(scheduler, there, pids)


def reason_of(scheduler: Scheduler, what: Impediment, pids: Mapping[int, int]) -> Reason:
    """Return an impediment in full.

    Args:
        scheduler: After placement.
        what: The impediment.
        pids: Processes of the workers that have said Hello.
    """
    if scheduler.strain.forbids:
        return MemoryScarce(most=scheduler.strain.ceiling or 1)
    if what.lacking or what.claimed:
        return _no_room(scheduler, what)
    pool = what.lane.pool
    return _no_worker(pool, pids) or _none_free(pool) or (Next() if pool.workers else Unexplained())


def unexplained(scheduler: Scheduler) -> list[Lane]:
    """Return lanes in which work waits for nothing that is known: a mistake of placement."""
    lanes = scheduler.lanes
    alone = [each for each in lanes.all.values() if each.count and not each.pool.workers]
    alone = [lane for lane in alone if lanes.may_start(lane)]
    if not alone or scheduler.strain.forbids:
        return []
    impeded = {id(each.lane) for each in impediments(scheduler) if each.lacking or each.claimed}
    return [lane for lane in alone if id(lane) not in impeded]


# --- resources ------------------------------------------------------------------------------------


def _no_room(scheduler: Scheduler, what: Impediment) -> NoRoom:
    """Return that resources are short, or kept for the first action of another lane."""
    asked, free, total = amounts(what.lane.demand), left(scheduler), whole(scheduler)
    names = what.lacking | what.claimed
    kept = [n for n in asked if n in what.claimed and asked[n] <= free.get(n, 0.0)]
    found = list(holders(scheduler, names))
    named = largest(found, total)
    elder = first_of(what.elder) if what.elder else None
    return NoRoom(
        asked=asked,
        free={name: free.get(name, 0.0) for name in asked},
        total={name: total.get(name, 0.0) for name in asked},
        short=tuple(name for name in asked if name in names and name not in kept),
        kept=tuple(kept),
        holders=named,
        others=len(found) - len(named),
        first=brief(elder) if elder else None,
        first_asked=amounts(what.elder.demand) if what.elder else {},
    )


def resuming(scheduler: Scheduler, attempt: Attempt) -> NoRoom:
    """Return that a parent whose wait has ended waits for its cores."""
    assert attempt.action.task is not None
    total = whole(scheduler)
    found = [each for each in holders(scheduler, {"cpu"}) if each.action != brief(attempt.action)]
    named = largest(found, total)
    return NoRoom(
        asked={"cpu": attempt.action.task.lane.demand.cpu},
        free={"cpu": left(scheduler)["cpu"]},
        total={"cpu": total["cpu"]},
        short=("cpu",),
        holders=named,
        others=len(found) - len(named),
        resumes=True,
    )


# --- workers --------------------------------------------------------------------------------------


def _no_worker(pool: Pool, pids: Mapping[int, int]) -> NoWorker | None:
    """Return that workers are being started, if some are."""
    starting = _starting(pool)
    if not starting:
        return None
    return NoWorker(
        environment=pool.reuse.environment,
        starting=len(starting),
        since=min(worker.idle_since for worker in starting),
        hooks=sum(worker.number in pids for worker in starting) if pool.reuse.startup else 0,
        delay=pool.delay,
        died=pool.crashed_starts + pool.killed_starts,
    )


def _starting(pool: Pool) -> list[Worker]:
    return [w for w in pool.workers.values() if not (w.ready or w.killed)]


def _none_free(pool: Pool) -> NoneFree | None:
    """Return that all workers are busy, or about to end, if that is so."""
    if _has_idle(pool):
        return None
    attempts = [a for w in pool.workers.values() for a in islice(w.attempts.values(), HOLDERS)]
    attempts.sort(key=lambda attempt: (attempt.blocked, attempt.action.started or 0.0))
    most = pool.reuse.max_workers
    return NoneFree(
        environment=pool.reuse.environment,
        workers=len(pool.workers),
        most=0 if most == MANY else most,
        holders=tuple(holder(attempt, {}) for attempt in attempts[:HOLDERS]),
    )


def _has_idle(pool: Pool) -> bool:
    """Whether a worker could begin at once, or there is nobody at all.

    There is one for a moment where older work of another lane was placed, and what was left for
    this one had been claimed by younger work of that lane by then.
    Where waiting parents made room for others, no more than so many may work.
    """
    if not pool.workers:
        return True
    if pool.full and pool.crowded:
        return False
    return any(
        w.ready and not (w.stopping or w.killed or w.attempts or w.spent)
        for w in pool.workers.values()
    )


# --- the line -------------------------------------------------------------------------------------


def first_of(lane: Lane) -> Action | None:
    """Return the oldest action of a lane."""
    firsts = (next(_in_order(queue), None) for queue in lane.queues.values())
    return min((each for each in firsts if each), key=lambda each: each.order, default=None)


def _in_order(queue: RunQueue) -> Iterator[Action]:
    """Yield the ready actions of one run in the order in which they will be taken."""
    for siblings in _groups(queue):
        yield from (action for action in siblings if _is_ready(action))


def _groups(queue: RunQueue) -> Iterator[deque[Action]]:
    """Yield the groups of siblings of one run, likewise."""
    heap = queue.heap.copy()
    while heap:
        yield queue.groups[heappop(heap)[2]]


def _is_ready(action: Action) -> bool:
    """Whether an entry of a line counts: some are left behind, and skipped later."""
    return action.stage is Stage.QUEUED and action.attempt is None


def place_in_line(action: Action) -> Line:
    """Return the place of a ready action among those that are interchangeable with it.

    What is ahead in whole groups of siblings is counted with entries that will be skipped.
    """
    assert action.task is not None
    lane = action.task.lane
    queue = lane.queues.get(action.run)
    if queue is None:
        return Line(ahead=0)
    own = queue.groups.get(action if action.behind else action.parent)
    ahead = 0
    for siblings in islice(_groups(queue), GROUPS):
        if siblings is own:
            break
        ahead += len(siblings)
    at, counted = _index(own or (), action)
    others = sum(_length(other) for run, other in lane.queues.items() if run is not action.run)
    return Line(ahead=ahead + at, counted=counted, others=others)


def _index(siblings: Collection[Action], action: Action) -> tuple[int, bool]:
    """Return how many of the siblings go first, and whether that is all of them."""
    at = 0
    for other in islice(siblings, LOOKED_AT):
        if other is action:
            return at, True
        at += _is_ready(other)
    return at, False


def _length(queue: RunQueue) -> int:
    return sum(len(siblings) for siblings in islice(queue.groups.values(), GROUPS))
