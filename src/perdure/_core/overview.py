"""An overview of what a controller does, as plain data: what ``perdure top`` shows.

It is asked for about once a second, whatever is in flight: what could be many is counted where it
is counted already, or a part of it is looked at.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from heapq import nlargest
from itertools import islice

import msgspec

from perdure._core.explaining import reason_of
from perdure._core.holders import amounts, brief, left, whole
from perdure._core.impediments import impediments
from perdure._core.impediments import reason_of as impeding
from perdure._core.lines import held_back
from perdure._core.machine import Machine
from perdure._core.model import MANY
from perdure._core.queues import Queue
from perdure._core.reasons import Amounts, Brief, kind
from perdure._core.sharing import QueueLimits
from perdure._core.state import Action, Attempt, Run
from perdure._core.transitions import Stage
from perdure._core.workers import Pool, Worker

ROWS = 40
"""Running attempts, and runs, that are told of one by one: more than terminals have lines."""

LOOKED_AT = 5000
"""Attempts, actions and runs that are looked at for it."""

OTHER = "other"
"""Those that wait, beyond the ones that were looked at."""


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """Workers that are interchangeable.

    Attributes:
        environment: Whose they are, "" if anybody's.
        image: What is installed there: the beginning of the recipe's digest, "" for what is here.
        is_async: They execute ``async def`` tasks.
        run: The run whose own they are, or "".
        busy: How many execute something.
        idle: How many have nothing to do.
        hosting: How many have nothing but parents that wait for children.
        starting: How many are being started.
        ending: How many are about to end.
        most: How many there may be; 0: as many as resources allow.
        attempts: How many attempts are with them.
        queued: How many ready actions wait for one of them.
        delay: What keeps new ones from starting, in words.
        gpu: Devices that each has.
    """

    environment: str
    image: str
    is_async: bool
    run: str
    busy: int
    idle: int
    hosting: int
    starting: int
    ending: int
    most: int
    attempts: int
    queued: int
    delay: str
    gpu: float = 0.0


class QueuePart(msgspec.Struct, frozen=True, kw_only=True):
    """What a controller has of a named queue.

    Attributes:
        name: Its name.
        used: Slots that are in use here.
        concurrency: How many slots there are, for all controllers; 0: any number.
        starts: How many may start in ``period`` seconds; 0: any number.
        period: Seconds.
        waiting: How many actions and runs wait for it here.
        depth: How many may wait, in each controller; 0: any number.
        held_back: How many calls are held back until fewer do.
    """

    name: str
    used: int
    concurrency: int
    starts: int
    period: float
    waiting: int
    depth: int = 0
    held_back: int = 0


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is driven.

    Attributes:
        name: Its name.
        task: Its root task.
        created: When it was asked for.
        running: How many attempts of it are with workers.
        actions: How many of its actions have no recorded outcome.
    """

    name: str
    task: str
    created: float
    running: int
    actions: int


class AttemptState(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that is executed.

    Attributes:
        action: Its action.
        attempt: 0-based number.
        since: When it was given to its worker.
        worker: Number of the worker.
        pid: Its process, 0 if that is not known.
        asked: What it asked for.
        beside: How many others are with the same worker.
    """

    action: Brief
    attempt: int
    since: float
    worker: int
    pid: int
    asked: Amounts
    beside: int


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What a controller does.

    Attributes:
        at: Its time.
        total: Resources of its node.
        free: What of that is free.
        pools: Those with workers, or with work that waits for some; busiest first.
        queues: Those that are in use.
        runs: Those with most in flight.
        run_count: All of them.
        running: Attempts that are executed, oldest first.
        running_count: All of them.
        waiting: How many actions wait for what, by kind of reason.
        pids: Processes of its workers.
        ceiling: How many workers may be busy, after memory was scarce; None: as many as fit.
        dormant: Runs besides, of which only a record is kept until something happens to them.
    """

    at: float
    total: Amounts
    free: Amounts
    pools: tuple[PoolState, ...]
    queues: tuple[QueuePart, ...]
    runs: tuple[RunState, ...]
    run_count: int
    running: tuple[AttemptState, ...]
    running_count: int
    waiting: dict[str, int]
    pids: tuple[int, ...]
    ceiling: int | None = None
    dormant: int = 0


def overview(machine: Machine, pids: Mapping[int, int], dormant: int = 0) -> Overview:
    """Return what the controller does.

    Args:
        machine: After placement.
        pids: Processes of the workers that have said Hello, by their numbers.
        dormant: Runs of which it keeps a record only.
    """
    scheduler = machine.scheduler
    queued: dict[int, int] = Counter()
    for lane in scheduler.lanes.all.values():
        queued[id(lane.pool)] += lane.count
    pools = [_pool(pool, queued[id(pool)]) for pool in scheduler.staff.pools.values()]
    pools = [each for each in pools if each.attempts or each.queued or _workers(each)]
    runs = nlargest(ROWS, islice(machine.runs.values(), LOOKED_AT), key=_size)
    return Overview(
        at=machine.now,
        total=whole(scheduler),
        free=left(scheduler),
        pools=tuple(sorted(pools, key=lambda each: (-each.busy, -each.queued, -_workers(each)))),
        queues=tuple(_queue(queue) for queue in scheduler.queues if not queue.is_idle),
        runs=tuple(_run(run) for run in runs),
        run_count=len(machine.runs),
        running=tuple(_running(machine, pids)),
        running_count=scheduler.computing(),
        waiting=_waiting(machine, pids),
        pids=tuple(sorted(pids.values())),
        ceiling=scheduler.strain.ceiling,
        dormant=dormant,
    )


def _pool(pool: Pool, queued: int) -> PoolState:
    there = Counter(map(_condition, pool.workers.values()))
    most = pool.reuse.max_workers
    return PoolState(
        environment=pool.reuse.environment,
        image=pool.key.recipe.hex()[:8],
        is_async=pool.is_async,
        run=pool.run.name if pool.run is not None else "",
        busy=there["busy"],
        idle=there["idle"],
        hosting=there["hosting"],
        starting=there["starting"],
        ending=there["ending"],
        most=0 if most == MANY else most,
        attempts=sum(len(worker.attempts) for worker in pool.workers.values()),
        queued=queued,
        delay=pool.delay,
        gpu=float(pool.gpu),
    )


def _queue(queue: Queue) -> QueuePart:
    limits = queue.limits or QueueLimits(queue.name)
    return QueuePart(
        name=queue.name,
        used=queue.used,
        concurrency=limits.concurrency,
        starts=limits.starts,
        period=limits.period,
        waiting=queue.waiting + len(queue.resuming),
        depth=limits.depth,
        held_back=len(queue.wishes.waiting),
    )


def _condition(worker: Worker) -> str:
    if worker.stopping or worker.killed:
        return "ending"
    if not worker.ready:
        return "starting"
    if worker.load:
        return "busy"
    return "hosting" if worker.attempts else "idle"


def _workers(pool: PoolState) -> int:
    return pool.busy + pool.idle + pool.hosting + pool.starting + pool.ending


def _size(run: Run) -> tuple[int, int]:
    return run.running, len(run.actions)


def _run(run: Run) -> RunState:
    root = run.actions.get(run.root)
    return RunState(
        name=run.name,
        task=root.name if root is not None else "",
        created=run.created,
        running=run.running,
        actions=len(run.actions),
    )


def _running(machine: Machine, pids: Mapping[int, int]) -> Iterator[AttemptState]:
    """Yield attempts that are executed, the oldest first: so they are kept."""
    looked_at = islice(machine.scheduler.attempts.values(), LOOKED_AT)
    active = (attempt for attempt in looked_at if not attempt.blocked)
    return (_attempt(attempt, pids) for attempt in islice(active, ROWS))


def _attempt(attempt: Attempt, pids: Mapping[int, int]) -> AttemptState:
    action, worker = attempt.action, attempt.worker
    return AttemptState(
        action=brief(action),
        attempt=action.number,
        since=action.started or action.created,
        worker=worker.number,
        pid=pids.get(worker.number, 0),
        asked=amounts(action.task.lane.demand) if action.task else {},
        beside=len(worker.attempts) - 1,
    )


def _waiting(machine: Machine, pids: Mapping[int, int]) -> dict[str, int]:
    """Return how many actions wait for what."""
    scheduler = machine.scheduler
    found: dict[str, int] = Counter()
    for each in impediments(scheduler):
        found[kind(impeding(scheduler, each, pids))] += each.lane.count
    ready = sum(lane.count for lane in scheduler.lanes.all.values())
    entering = sum(len(places) for q in scheduler.queues for places in q.entrants.values())
    asleep = sum(len(queue.asleep) for queue in scheduler.queues)
    if slots := ready + entering - sum(found.values()):
        found["no_slot"] = slots  # placement does not look at what its queue has no room for
    placed = ready + entering - asleep + len(scheduler.attempts)
    wishes = (wish for queue in scheduler.queues for wish in queue.wishes.waiting.values())
    callers = {w.attempt.handle: w.attempt for w in islice(wishes, LOOKED_AT)}.values()
    if held := sum(held_back(attempt) is not None for attempt in callers):
        found["queue_full"] = held
    blocked = sum(worker.blocked for worker in scheduler.staff.workers.values()) - held
    if blocked:
        found["children"] = blocked
    rest = sum(len(run.actions) for run in machine.runs.values()) - placed
    for action in islice(_actions(machine), LOOKED_AT if rest else 0):
        if action.stage not in (Stage.QUEUED, Stage.RUNNING):
            found[_kind_of(machine, action)] += 1
            rest -= 1
            if not rest:
                break
    if rest > 0:
        found[OTHER] = rest
    return dict(found)


def _actions(machine: Machine) -> Iterator[Action]:
    for run in machine.runs.values():
        yield from run.actions.values()


def _kind_of(machine: Machine, action: Action) -> str:
    if action.missing:
        return "inputs"  # whose, nobody asks
    return kind(reason_of(machine, action, {})[0])
