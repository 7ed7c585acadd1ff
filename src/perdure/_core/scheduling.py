"""Placement: which ready action goes to which worker.

* Ready actions wait in *lanes* (``lanes.py``), the oldest comes first. What it lacks is set aside
  for it (``reserve.py``).
* A worker whose load is above zero holds its lane's demand in the ledger. Micro-tasks are assigned
  ahead of time (*prefetch*): as many as fill ``PREFETCH_SECONDS`` by the observed duration, behind
  a running attempt of the same lane. A worker that turns idle while others hold a backlog that
  does not move gets part of it (*take back*).
* A parent whose wait has ended gets its share before anything is placed (``resuming.py``).
* Of a lane with a queue no more is placed than that has room for (``queues.py``).
* How many workers there are, and which devices they have, is in ``staffing.py``.
* In a pool with ``concurrency`` above one, so many attempts run together in each worker, for one
  share of the ledger (``shares.py``); only what is beyond them is a backlog.
* An async worker hosts blocked attempts besides the running one. Tasks that are known to make no
  calls are kept away from workers that host blocked parents, so that a crashing or busy leaf does
  not drag its own parent down; orchestrators share workers.
"""

import math
from collections.abc import Callable

import msgspec

from perdure._core import shares
from perdure._core.allowances import allow, is_quick
from perdure._core.effects import Effects
from perdure._core.lanes import Lanes
from perdure._core.ledger import Ledger
from perdure._core.model import Capacity, TaskSpec
from perdure._core.orders import Start, TakeBack
from perdure._core.queueing import Queues
from perdure._core.recollection import Recollection
from perdure._core.reserve import Reserve
from perdure._core.resuming import Resumption
from perdure._core.staffing import Staff
from perdure._core.state import Action, Attempt, Lane, Run, Task
from perdure._core.strain import Strain
from perdure._core.timers import Timers
from perdure._core.transitions import Stage
from perdure._core.workers import Pool, PoolKey, Worker

PREFETCH_SECONDS = 0.003
"""How much work may be queued on a worker: enough to hide a round trip, too little to be unfair."""

PREFETCH_LIMIT = 512
STUCK_SECONDS = 0.002
"""A backlog behind an attempt that takes longer than this is given to idle workers."""


class Scheduler:
    """Lanes, pools and the ledger of one node.

    Attributes:
        starved: The oldest lane that waits for space or devices, as of the last placement.
        wanted: Names of what was left alone then, because older work waits for it.
    """

    def __init__(
        self, capacity: Capacity, first_worker: int, timers: Timers, effects: Effects
    ) -> None:
        self.ledger = Ledger(capacity)
        self.staff = Staff(capacity, first_worker, effects)
        self.queues = Queues(timers, effects)
        self.resuming = Resumption(self.ledger, self.queues, effects)
        self.starved: Lane | None = None
        self.wanted: set[str] = set()
        self.timers = timers
        self.effects = effects
        self.lanes = Lanes(self.queues)
        self.attempts: dict[int, Attempt] = {}
        self.strain = Strain(self.staff.workers, timers, effects)
        self.overrun: Callable[[Attempt], None] = lambda attempt: None
        self.forsaken: Callable[[Attempt], None] = lambda attempt: None
        self._next_handle = 1
        self._relief_due = False

    # --- tasks and queues -------------------------------------------------------------------------

    def task(self, run: Run, spec: TaskSpec) -> Task:
        """Return the run's task of that spec, making its lane when it is the first."""
        task = run.tasks.get(spec)
        if task is None:
            env_vars = tuple(sorted({**run.env_vars, **dict(spec.env_vars)}.items()))
            reuse, demand = spec.reuse, spec.demand
            if reuse.per_run:
                reuse = msgspec.structs.replace(reuse, run=run.key)
            threads = max(1, math.ceil(demand.cpu))
            key = PoolKey(
                run.bundle, spec.is_async, env_vars, reuse, spec.image.recipe, threads,
                demand.gpu, demand.device,
            )  # fmt: skip
            pool = self.staff.pool(key)
            pool.run = run if reuse.per_run else None
            lane = self.lanes.of(pool, demand, spec.queue)
            shortage = self.ledger.shortage(demand) or self.staff.devices.shortage(demand)
            task = run.tasks[spec] = Task(spec, lane, shortage)
            task.makes_calls = spec in pool.callers
        return task

    # --- placement --------------------------------------------------------------------------------

    def place(self, now: float) -> None:
        """Give ready actions to workers as far as resources go; ask for workers where they lack."""
        self.resuming.retry()
        if self.queues.active:
            self._admit(now, in_turn=True)
        while self._place(now):
            pass
        if self.queues.active and self._admit(now, in_turn=False):
            self._place(now)

    def _admit(self, now: float, *, in_turn: bool) -> bool:
        """Let runs begin that a queue has room for; return whether there were any."""
        roots = self.queues.admit(now, in_turn=in_turn)
        for root in roots:
            self.lanes.add(root)
        return bool(roots)

    def _place(self, now: float) -> bool:
        """Place what can be placed; return whether another order has to be considered."""
        self.starved = None
        self.lanes.give_turns(self.wanted)
        reserve, full, is_new_order = Reserve(self.ledger), list[Pool](), False
        reserve.wanted |= {"cpu"} if self.resuming else set()
        lanes = self.lanes.in_order()
        for position, lane in enumerate(lanes, 1):
            if lane.pool in full:
                continue
            if reserve.leaves(lane):
                is_new_order = self._place_lane(lane, lanes[position:], now)
                if is_new_order:
                    break
                if lane.count and (lane.queue is None or lane.queue.room > 0):
                    self._let_wait(lane, reserve, full)
            elif not reserve.is_kept:
                reserve.keep(lane, set())
        reserve.give_back()
        self.wanted = reserve.wanted
        return is_new_order

    def _let_wait(self, lane: Lane, reserve: Reserve, full: list[Pool]) -> None:
        """Keep younger work from living off the resources that the lane waits for."""
        lacking = self.lacking(lane)
        if lacking:
            if lacking != {"cpu"}:
                self.starved = self.starved or lane
            reserve.keep(lane, lacking)
        elif lane.pool.full:
            full.append(lane.pool)  # nor may it keep workers busy that the lane waits for

    def lacking(self, lane: Lane) -> set[str]:
        """Return the names of what the lane waits for; cpu counts once there is all else."""
        lacking = self.ledger.lacking(lane.share)
        if self.staff.lacks_devices(lane.pool):
            lacking.add("gpu")
        if not lacking and lane.share.cpu > self.ledger.cpu:
            lacking.add("cpu")
        return lacking

    def _place_lane(self, lane: Lane, others: list[Lane], now: float) -> bool:
        """Place what the lane holds, as far as possible, or until it is somebody else's turn."""
        ready = lane.count
        while lane.count and not self.strain.forbids:
            action = self.lanes.first(lane)
            if action is None:
                return False
            worker = self._pick(lane, action, now)
            if worker is None:
                if lane.count < ready and self.lanes.fell_behind(lane, others):
                    return True
                self.staff.hire(action, self.ledger.room_for(lane.share), now)
                return False
            self.lanes.take(action)
            self._assign(worker, action, now)
            self._fill(worker, action, now)
            if self.lanes.took(lane, action.run):
                return True
        return False

    def _fill(self, worker: Worker, like: Action, now: float) -> None:
        """Let more of the same lane run beside it or wait behind it, by even shares."""
        task = like.task
        assert task is not None
        lane = task.lane
        usable = sum(1 for w in lane.pool.workers.values() if w.ready and not w.stopping)
        ready = lane.count if lane.queue is None else min(lane.count, lane.queue.room)
        share = -(-ready // max(1, usable))
        company = like.company
        room = min(capacity(like) - worker.load, worker.company - worker.load, worker.left, share)
        while room > 0:
            action = self.lanes.first(lane)
            if action is None or action.task is not task or action.company != company:
                return
            self.lanes.take(action)
            self._assign(worker, action, now)
            room -= 1

    def _pick(self, lane: Lane, action: Action, now: float) -> Worker | None:
        task = action.task
        assert task is not None
        best: Worker | None = None
        best_cost = (1 << 30, 0)
        pool = lane.pool
        fits = self.ledger.fits(lane.share)
        full = pool.full
        if full and pool.crowded:
            return None
        most, concurrency = capacity(action), pool.concurrency
        hosts = pool.is_async and (task.makes_calls or full or self._must_join(lane))
        for worker in pool.workers.values():
            if not worker.ready or worker.stopping or (worker.blocked and not hosts):
                continue
            if worker.left <= 0:
                continue
            load = worker.load
            if load == 0:
                if not fits and not shares.fits(self.ledger, worker, lane):
                    continue
            elif (
                (worker.lane is not lane and not _is_alike(worker.lane, lane))
                or load >= most
                or load >= worker.company
                or (pool.together and not shares.has_space(self.ledger, worker, lane))
                or (load >= concurrency and _is_stuck(worker, now))
            ):
                continue
            cost = (load, worker.blocked)
            if cost < best_cost:
                best, best_cost = worker, cost
        return best

    def _must_join(self, lane: Lane) -> bool:
        """Whether only workers that host parents have the space or the devices."""
        pool = lane.pool
        if pool.together and not self.ledger.fits_space(lane.share.space):
            return True
        return not self.staff.has_devices(pool) and all(w.blocked for w in pool.workers.values())

    def _assign(self, worker: Worker, action: Action, now: float) -> None:
        lane = action.task.lane  # type: ignore[union-attr]  # only tasks are placed
        pool = lane.pool
        attempt = Attempt(self._next_handle, action, worker, action.replay)
        self._next_handle += 1
        if lane.queue is not None:
            lane.queue.start(attempt, now)
        if action.replay:
            self._prepare_replay(attempt)
        was_idle = worker.load == 0
        if was_idle:
            shares.hold(self.ledger, worker, lane)
            worker.last_done = now
        if pool.together:
            shares.join(self.ledger, worker, lane)
            worker.company = min(worker.company, action.company)
        worker.attempts[attempt.handle] = attempt
        worker.left -= 1
        self.attempts[attempt.handle] = attempt
        if lane.demand.memory or worker.allowance:
            allow(worker, self.effects, anew=was_idle and not is_quick(action))
        action.attempt = attempt
        action.move(Stage.RUNNING)
        action.charged += 1
        if not action.resumes:
            action.started = now
        action.worker = worker.number
        action.behind = ()
        run = action.run
        run.running += 1
        run.backlog.pop(action.id, None)
        run.dirty[action.id] = action
        limit = action.task.spec.timeout.max_runtime  # type: ignore[union-attr]
        if limit is not None:
            attempt.limit = self.timers.at((action.started or now) + limit, self.overrun, attempt)
        worker.outbox.append(Start(attempt))
        self.effects.told[worker.number] = worker
        if worker.load > pool.concurrency:
            self._watch_backlogs(now)

    def _prepare_replay(self, attempt: Attempt) -> None:
        """Have its calls remembered, and its worker told what is recorded of them."""
        action = attempt.action
        attempt.called = set()
        if action.seq and not action.run.recover:
            attempt.recollection = Recollection(action.first_of_all)
            self.effects.pages.append(attempt)

    def computing(self) -> int:
        """Return how many attempts run or are about to; the others wait for children."""
        return sum([worker.load for worker in self.staff.workers.values()])

    # --- what attempts do to their workers --------------------------------------------------------

    def block(self, attempt: Attempt) -> None:
        """The attempt waits for children: its cpu share is free, its memory is not."""
        worker = attempt.worker
        if attempt.blocked:
            if attempt.resuming:
                self.resuming.wait_on(attempt)
            return
        attempt.blocked = True
        worker.blocked += 1
        shares.keep(attempt)
        if (queue := attempt.action.task.lane.queue) is not None:  # type: ignore[union-attr]
            queue.give(attempt)
        if worker.load == 0:
            shares.release(self.ledger, worker)

    def unblock(self, attempt: Attempt) -> None:
        """The attempt goes on by itself, whatever it was waiting for."""
        if attempt.blocked:
            self.resuming.go_on_alone(attempt)

    def detach(self, attempt: Attempt, now: float, *, unstarted: bool = False) -> None:
        """The attempt has left its worker: it ended, was given back, or died with it."""
        worker, action = attempt.worker, attempt.action
        pool = worker.pool
        del self.attempts[attempt.handle]
        del worker.attempts[attempt.handle]
        action.attempt = None
        action.run.running -= 1
        if self.queues.active:
            self.queues.left(attempt, now, unstarted=unstarted)
        if attempt.limit is not None:
            self.timers.cancel([attempt.limit])
        if attempt.wishes:
            self.forsaken(attempt)
        if attempt.blocked:
            self.resuming.forget(attempt)
            worker.blocked -= 1
        if attempt.kept_space:
            shares.forget(self.ledger, attempt)
        if worker.load == 0 and worker.lane is not None:
            shares.release(self.ledger, worker)
        if pool.together:
            shares.leave(self.ledger, worker, action.task.lane)  # type: ignore[union-attr]
        if unstarted:
            worker.left += 1
        else:
            worker.last_done = now
            worker.seasoned = worker.relayed = True
        if worker.left <= 0:
            self.staff.replace_spent(worker)
        if worker.load == 0:
            worker.idle_since = now
            if any(w.load > pool.concurrency for w in pool.workers.values()):
                self._watch_backlogs(now)

    def let_go(self, now: float) -> None:
        """Let go of workers that have had nothing to do for long."""
        for pool in self.staff.retire_idle(now):
            self.lanes.drop(pool)

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
            for worker in self.staff.workers.values()
            if worker.load > worker.pool.concurrency
            and worker.lane
            and not worker.revoking
            and self.ledger.fits(worker.lane.share)
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


def _is_alike(lane: Lane | None, other: Lane) -> bool:
    """Whether lanes of the same pool differ in nothing but their queues."""
    return lane is not None and lane.demand == other.demand


def _is_stuck(worker: Worker, now: float) -> bool:
    return now - worker.last_done >= STUCK_SECONDS


def capacity(action: Action) -> int:
    """Return how many attempts a worker may have if the action's is one of them."""
    task = action.task
    assert task is not None
    return min(max(task.lane.pool.concurrency, prefetch_depth(task)), action.company)


def prefetch_depth(task: Task) -> int:
    """Return how many attempts of the task a worker may have at once, the running one included."""
    if task.seconds is None or task.timed or task.makes_calls:
        return 1
    if task.lane.queue is not None and task.lane.queue.is_rated:
        return 1  # an attempt starts when it is said to
    if task.lane.share.space and task.spec.is_async:
        return 1  # the next one would begin, with no space of its own, when this one calls a child
    return max(1, min(PREFETCH_LIMIT, int(PREFETCH_SECONDS / max(task.seconds, 1e-6))))
