"""Placement: which ready action goes to which worker, and how many workers there should be.

* Ready actions wait in *lanes* (same pool of workers, same demand). Within a run they are taken in
  the order in which sequential code would do the work (depth first by call position): parents that
  started finish before new ones start, so few parents are ever half done. Between runs, the one
  with the fewest attempts running goes first.
* A worker whose load is above zero holds its lane's demand in the ledger. Micro-tasks are assigned
  ahead of time (*prefetch*): as many as fill ``PREFETCH_SECONDS`` by the observed duration, behind
  a running attempt of the same lane. A worker that turns idle while others hold a backlog that
  does not move gets part of it (*take back*).
* In a pool with ``concurrency`` above one, so many attempts run together in each worker, for one
  share of the ledger (``shares.py``); only what is beyond them is a backlog.
* An async worker hosts blocked attempts besides the running one. Tasks that are known to make no
  calls are kept away from workers that host blocked parents, so that a crashing or busy leaf does
  not drag its own parent down; orchestrators share workers.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable

import msgspec

from perdure._core import shares, staffing
from perdure._core.allowances import allowance, is_quick
from perdure._core.effects import Effects
from perdure._core.ledger import Ledger
from perdure._core.model import MANY, Demand, TaskSpec
from perdure._core.orders import Quit, Start, TakeBack
from perdure._core.recollection import Recollection
from perdure._core.state import (
    Action,
    Attempt,
    Lane,
    Pool,
    PoolKey,
    Run,
    RunQueue,
    Task,
    Worker,
)
from perdure._core.strain import Strain
from perdure._core.timers import Timers
from perdure._core.transitions import Stage

PREFETCH_SECONDS = 0.003
"""How much work may be queued on a worker: enough to hide a round trip, too little to be unfair."""

PREFETCH_LIMIT = 512
STUCK_SECONDS = 0.002
"""A backlog behind an attempt that takes longer than this is given to idle workers."""

AFTER_ALL = 1 << 62
"""Greater than the position of any call."""


class Scheduler:
    """Lanes, pools and the ledger of one node."""

    def __init__(
        self, capacity: Demand, first_worker: int, timers: Timers, effects: Effects
    ) -> None:
        self.ledger = Ledger(capacity)
        self.cores = max(1, int(capacity.cpu))
        self.timers = timers
        self.effects = effects
        self.pools: dict[PoolKey, Pool] = {}
        self.lanes: dict[tuple[PoolKey, Demand], Lane] = {}
        self.workers: dict[int, Worker] = {}
        self.attempts: dict[int, Attempt] = {}
        self.strain = Strain(self.workers, timers, effects)
        self.overrun: Callable[[Attempt], None] = lambda attempt: None
        self._next_worker = first_worker
        self._next_handle = 1
        self._pushes = 0
        self._relief_due = False

    # --- tasks and queues -------------------------------------------------------------------------

    def task(self, run: Run, spec: TaskSpec) -> Task:
        """Return the run's task of that spec, making its lane when it is the first."""
        task = run.tasks.get(spec)
        if task is None:
            env_vars = tuple(sorted({**run.env_vars, **dict(spec.env_vars)}.items()))
            reuse = spec.reuse
            if reuse.per_run:
                reuse = msgspec.structs.replace(reuse, run=run.key)
            threads = max(1, math.ceil(spec.demand.cpu))
            key = PoolKey(run.bundle, spec.is_async, env_vars, reuse, spec.image.recipe, threads)
            pool = self.pools.setdefault(key, Pool(key, spec.is_async, reuse))
            pool.run = run if reuse.per_run else None
            lane = self.lanes.setdefault((key, spec.demand), Lane(pool, spec.demand))
            shortage = self.ledger.shortage(spec.demand)
            task = run.tasks[spec] = Task(spec, lane, shortage)
        return task

    def enqueue(self, action: Action, *, front: bool = False) -> None:
        """Add a ready action; ``front`` when it has been out before."""
        assert action.task is not None
        lane = action.task.lane
        queue = lane.queues.get(action.run)
        if queue is None:
            queue = lane.queues[action.run] = RunQueue()
        siblings = queue.by_parent.get(action.parent)
        if siblings is None:
            siblings = queue.by_parent[action.parent] = deque()
            # What is below a started parent comes before what comes after it.
            order = (*action.parent.order, AFTER_ALL) if action.parent else ()
            self._pushes += 1
            heapq.heappush(queue.heap, (order, self._pushes, action.parent))
        (siblings.appendleft if front else siblings.append)(action)
        lane.count += 1

    def left_queue(self, action: Action) -> None:
        """An action stopped being ready; an entry that placement has not taken out is skipped."""
        assert action.task is not None
        lane = action.task.lane
        lane.count -= 1
        if not lane.count:
            lane.queues.clear()  # nobody will come by to skip the entries that are left

    def _next_ready(self, lane: Lane) -> Action | None:
        """Remove and return the action of the lane that is first in order."""
        while lane.queues:
            run = next(iter(lane.queues))
            if len(lane.queues) > 1:
                run = min(lane.queues, key=lambda run: run.running)
            queue = lane.queues[run]
            while queue.heap:
                parent = queue.heap[0][2]
                siblings = queue.by_parent[parent]
                while siblings:
                    action = siblings.popleft()
                    if action.stage is Stage.QUEUED and action.attempt is None:
                        self.left_queue(action)
                        return action
                heapq.heappop(queue.heap)
                del queue.by_parent[parent]
            del lane.queues[run]
        return None

    def waiting_for(self, pool: Pool) -> list[Run]:
        """Return the runs that have ready actions for the pool."""
        lanes = [lane for lane in self.lanes.values() if lane.pool is pool]
        return list(dict.fromkeys(run for lane in lanes for run in lane.queues))

    # --- placement --------------------------------------------------------------------------------

    def place(self, now: float) -> None:
        """Give ready actions to workers as far as resources go; ask for workers where they lack."""
        lanes = [lane for lane in self.lanes.values() if lane.count]
        if len(lanes) > 1:
            lanes.sort(key=_head)
        full: list[Pool] = []
        for lane in lanes:
            if lane.pool in full:
                continue
            self._place_lane(lane, now)
            if lane.count and not self.ledger.fits(lane.demand):
                # Younger work must not live off the resources that the oldest waits for,
                return
            if lane.count and lane.pool.full:
                full.append(lane.pool)  # nor keep workers busy that it waits for.

    def _place_lane(self, lane: Lane, now: float) -> None:
        while lane.count and not self.strain.forbids:
            action = self._next_ready(lane)
            if action is None:
                return
            worker = self._pick(lane, action, now)
            if worker is None:
                self.enqueue(action, front=True)
                self._ask_for_workers(lane, action, now)
                return
            self._assign(worker, action, now)
            self._fill(worker, action, now)

    def _fill(self, worker: Worker, like: Action, now: float) -> None:
        """Let more of the same lane run beside it or wait behind it, by even shares."""
        task, lane = like.task, worker.lane
        assert task is not None
        assert lane is not None
        usable = sum(1 for w in lane.pool.workers.values() if w.ready and not w.stopping)
        share = -(-lane.count // max(1, usable))
        company = like.company
        room = min(capacity(like) - worker.load, worker.company - worker.load, worker.left, share)
        while room > 0:
            action = self._next_ready(lane)
            if action is None:
                return
            if action.task is not task or action.company != company:
                self.enqueue(action, front=True)
                return
            self._assign(worker, action, now)
            room -= 1

    def _pick(self, lane: Lane, action: Action, now: float) -> Worker | None:
        task = action.task
        assert task is not None
        best: Worker | None = None
        best_cost = (1 << 30, 0)
        pool, demand = lane.pool, lane.demand
        fits = self.ledger.fits(demand)
        full = pool.full
        if full and pool.crowded:
            return None
        most, concurrency = capacity(action), pool.concurrency
        hosts = pool.is_async and (task.makes_calls or full)
        for worker in pool.workers.values():
            if not worker.ready or worker.stopping or (worker.blocked and not hosts):
                continue
            if worker.left <= 0:
                continue
            load = worker.load
            if load == 0:
                if not fits and not shares.fits(self.ledger, worker, demand):
                    continue
            elif (
                worker.lane is not lane
                or load >= most
                or load >= worker.company
                or (load >= concurrency and _is_stuck(worker, now))
            ):
                continue
            cost = (load, worker.blocked)
            if cost < best_cost:
                best, best_cost = worker, cost
        return best

    def _assign(self, worker: Worker, action: Action, now: float) -> None:
        lane = action.task.lane  # type: ignore[union-attr]  # only tasks are placed
        pool = lane.pool
        attempt = Attempt(self._next_handle, action, worker, action.replay)
        self._next_handle += 1
        if action.replay:
            self._prepare_replay(attempt)
        was_idle = worker.load == 0
        if was_idle:
            shares.hold(self.ledger, worker, lane)
            worker.last_done = now
        if pool.together:
            shares.join(self.ledger, worker, lane.demand)
            worker.company = min(worker.company, action.company)
        worker.attempts[attempt.handle] = attempt
        worker.left -= 1
        self.attempts[attempt.handle] = attempt
        if lane.demand.memory or worker.allowance:
            self._allow(worker, anew=was_idle and not is_quick(action))
        action.attempt = attempt
        action.move(Stage.RUNNING)
        action.charged += 1
        action.started = now
        action.worker = worker.number
        run = action.run
        run.running += 1
        run.backlog.pop(action.id, None)
        run.dirty[action.id] = action
        limit = action.task.spec.timeout.max_runtime  # type: ignore[union-attr]
        if limit is not None:
            attempt.limit = self.timers.at(now + limit, self.overrun, attempt)
        worker.outbox.append(Start(attempt))
        self.effects.told[worker.number] = worker
        if worker.load > pool.concurrency:
            self._watch_backlogs(now)

    def _allow(self, worker: Worker, *, anew: bool) -> None:
        """Let the worker use what it holds; ``anew``: see what is there already, in any case."""
        before, worker.allowance = worker.allowance, allowance(worker)
        if anew or worker.allowance != before:
            worker.relayed = False
            self.effects.limits[worker.number] = worker

    def _prepare_replay(self, attempt: Attempt) -> None:
        """Have its calls remembered, and its worker told what is recorded of them."""
        action = attempt.action
        attempt.called = set()
        if action.seq and not action.run.recover:
            attempt.recollection = Recollection(action.first_of_all)
            self.effects.pages.append(attempt)

    def computing(self) -> int:
        """Return how many attempts run or are about to; the others wait for children."""
        return sum([worker.load for worker in self.workers.values()])

    # --- what attempts do to their workers --------------------------------------------------------

    def block(self, attempt: Attempt) -> None:
        """The attempt waits for children: its cpu share is free, its memory is not."""
        worker = attempt.worker
        if attempt.blocked:
            return
        attempt.blocked = True
        worker.blocked += 1
        lane = attempt.action.task.lane  # type: ignore[union-attr]  # only tasks have attempts
        shares.keep(self.ledger, attempt, lane.demand)
        if worker.load == 0:
            shares.release(self.ledger, worker)

    def unblock(self, attempt: Attempt) -> None:
        """The attempt goes on: it takes its share back, even if the ledger is overdrawn by it."""
        if not attempt.blocked:
            return
        worker = attempt.worker
        shares.forget(self.ledger, attempt)
        if worker.load == 0:
            shares.hold(self.ledger, worker, attempt.action.task.lane)  # type: ignore[union-attr]
        worker.company = min(worker.company, attempt.action.company)
        attempt.blocked = False
        worker.blocked -= 1
        if worker.allowance or attempt.action.task.lane.demand.memory:  # type: ignore[union-attr]
            self._allow(worker, anew=False)

    def detach(self, attempt: Attempt, now: float, *, unstarted: bool = False) -> None:
        """The attempt has left its worker: it ended, was given back, or died with it."""
        worker, action = attempt.worker, attempt.action
        pool = worker.pool
        del self.attempts[attempt.handle]
        del worker.attempts[attempt.handle]
        action.attempt = None
        action.run.running -= 1
        if attempt.limit is not None:
            self.timers.cancel([attempt.limit])
        if attempt.blocked:
            shares.forget(self.ledger, attempt)
            worker.blocked -= 1
        elif worker.load == 0:
            shares.release(self.ledger, worker)
        if pool.together:
            shares.leave(self.ledger, worker, action.task.lane.demand)  # type: ignore[union-attr]
        if unstarted:
            worker.left += 1
        else:
            worker.last_done = now
            worker.seasoned = worker.relayed = True
        if worker.left <= 0:
            self._replace_spent(worker)
        if worker.load == 0:
            worker.idle_since = now
            if any(w.load > pool.concurrency for w in pool.workers.values()):
                self._watch_backlogs(now)

    # --- the number of workers --------------------------------------------------------------------

    def _ask_for_workers(self, lane: Lane, action: Action, now: float) -> None:
        """Spawn as many workers as could start work at once, and are not already on their way."""
        pool = lane.pool
        workers = pool.workers.values()
        free = [w for w in workers if not w.stopping and not w.load and not w.blocked]
        if pool.is_async and action.task.makes_calls:  # type: ignore[union-attr]
            hosts = sum(1 for w in workers if w.blocked and not w.spent)
            if hosts >= self.cores:
                return
        together = min(pool.concurrency, action.company)
        wanted = min(-(-lane.count // together), self.ledger.room_for(lane.demand), 2 * self.cores)
        for _ in range(staffing.missing(pool, wanted - len(free))):
            self.spawn(pool, now)

    def spawn(self, pool: Pool, now: float) -> Worker:
        """Ask for one more worker of the pool."""
        worker = Worker(self._next_worker, pool, idle_since=now)
        self._next_worker += 1
        pool.workers[worker.number] = self.workers[worker.number] = worker
        self.effects.spawns.append(worker)
        return worker

    def remove(self, worker: Worker) -> None:
        """Forget a worker that is gone; its attempts have been detached."""
        del self.workers[worker.number]
        del worker.pool.workers[worker.number]
        self.effects.told.pop(worker.number, None)

    def retire_idle(self, now: float) -> None:
        """Let go of workers that have had nothing to do for long."""
        for pool in list(self.pools.values()):
            for worker in staffing.superfluous(pool, self.cores, now):
                self._retire(worker)
            if pool.over and not pool.workers:
                del self.pools[pool.key]
                for place in [place for place in self.lanes if place[0] == pool.key]:
                    del self.lanes[place]

    def wear_out(self, worker: Worker) -> None:
        """The worker is to be given nothing more, and to go when it has nothing to do."""
        worker.left = -MANY
        self._replace_spent(worker)

    def _replace_spent(self, worker: Worker) -> None:
        """Let go of a worker that may do no more, once it has ended what it has begun."""
        if worker.ready and not worker.attempts and not worker.stopping:
            self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        worker.stopping = True
        worker.outbox.append(Quit())
        self.effects.told[worker.number] = worker

    # --- backlogs that do not move ----------------------------------------------------------------

    def _watch_backlogs(self, now: float) -> None:
        if not self._relief_due:
            self._relief_due = True
            self.timers.at(now + STUCK_SECONDS, self._relieve, now + STUCK_SECONDS)

    def _relieve(self, now: float) -> None:
        """Take the backlog of workers that are stuck behind a long attempt, if there is room."""
        self._relief_due = False
        backlogs = [
            worker
            for worker in self.workers.values()
            if worker.load > worker.pool.concurrency
            and worker.lane
            and not worker.revoking
            and self.ledger.fits(worker.lane.demand)
        ]
        for worker in backlogs:
            if _is_stuck(worker, now):
                self._take_back(worker)
        if backlogs:
            self._watch_backlogs(now)

    def _take_back(self, worker: Worker) -> None:
        waiting = [a.handle for a in worker.attempts.values() if not a.blocked]
        worker.revoking = True
        worker.outbox.append(TakeBack(tuple(waiting[worker.pool.concurrency :])))
        self.effects.told[worker.number] = worker


def _is_stuck(worker: Worker, now: float) -> bool:
    return now - worker.last_done >= STUCK_SECONDS


def _head(lane: Lane) -> tuple[tuple[int, ...], int]:
    """Return the place of the lane's first action: by its parent, then among its siblings."""
    return min((_first(queue) for queue in lane.queues.values() if queue.heap), default=((), 0))


def _first(queue: RunQueue) -> tuple[tuple[int, ...], int]:
    order, _, parent = queue.heap[0]
    siblings = queue.by_parent[parent]
    return order, siblings[0].index if siblings else 0


def capacity(action: Action) -> int:
    """Return how many attempts a worker may have if the action's is one of them."""
    task = action.task
    assert task is not None
    return min(max(task.lane.pool.concurrency, prefetch_depth(task)), action.company)


def prefetch_depth(task: Task) -> int:
    """Return how many attempts of the task a worker may have at once, the running one included."""
    if task.seconds is None or task.timed or task.makes_calls:
        return 1
    return max(1, min(PREFETCH_LIMIT, int(PREFETCH_SECONDS / max(task.seconds, 1e-6))))
