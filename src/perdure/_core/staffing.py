"""How many workers there are: within their pools' policies, and for how long without work.

Workers of tasks that ask for GPUs have them from start to end (``devices.py``). Idle ones are let
go when somebody else needs what they have.
"""

from perdure._core.devices import Devices
from perdure._core.effects import Effects
from perdure._core.model import MANY, Capacity
from perdure._core.orders import Quit
from perdure._core.state import Action, Task
from perdure._core.workers import Pool, PoolKey, Worker

IDLE_SECONDS = 60.0
"""Where no policy says otherwise, an idle worker is kept this long; those beyond one per core
``SURPLUS_SECONDS``."""

SURPLUS_SECONDS = 5.0


def makes_calls(task: Task, kind: str) -> None:
    """An attempt of the task waits for a call; what is known of it, other runs need not learn.

    Otherwise each run of many would have the first attempt of its root in a worker of its own.
    """
    if kind != "task" and not task.modest:
        return  # who only sleeps, and keeps memory over it, must not be first where there is little
    task.makes_calls = True
    task.lane.pool.callers.add(task.spec)
    for run in task.lane.queues:
        if (waiting := run.tasks.get(task.spec)) is not None:
            waiting.makes_calls = True


def missing(pool: Pool, more: int) -> int:
    """Return how many workers to start for a pool that could use ``more``."""
    reuse = pool.reuse
    if not reuse.environment:
        return more
    there = sum(1 for w in pool.workers.values() if not w.stopping and not _makes_room(pool, w))
    return min(max(more, reuse.min_workers - there), reuse.max_workers - there)


def _makes_room(pool: Pool, worker: Worker) -> bool:
    """Whether parents block the worker, which must not keep their children from getting one."""
    if pool.is_async and not worker.spent:
        return False  # it can have the children, too
    return worker.blocked > 0 and not worker.load


def superfluous(pool: Pool, cores: int, now: float) -> list[Worker]:
    """Return the workers that have had nothing to do for so long that they may go."""
    idle = [w for w in pool.workers.values() if w.ready and not w.attempts and not w.stopping]
    if not idle:
        return idle
    if pool.over:
        return idle
    idle.sort(key=lambda w: w.idle_since)
    reuse = pool.reuse
    kept, short, long = cores, SURPLUS_SECONDS, IDLE_SECONDS
    if reuse.environment:
        if len(idle) == len(pool.workers) and now - idle[-1].idle_since > reuse.idle_ttl:
            return idle
        kept, short, long = reuse.min_workers, reuse.scaledown_ttl, MANY
    surplus = len(pool.workers) - kept
    return [
        worker
        for position, worker in enumerate(idle)
        if now - worker.idle_since > (short if position < surplus else long)
    ]


class Staff:
    """The pools of one node, their workers, and the devices that those have.

    Attributes:
        pools: Those that somebody may still use.
        workers: Of all pools, by number; also those that are on their way, or leaving.
        devices: Of the node.
        cores: Workers that compute at once are about as many.
    """

    def __init__(self, capacity: Capacity, first_worker: int, effects: Effects) -> None:
        self.pools: dict[PoolKey, Pool] = {}
        self.workers: dict[int, Worker] = {}
        self.devices = Devices(capacity.devices)
        self.cores = max(1, int(capacity.cpu))
        self._effects = effects
        self._next = first_worker

    def pool(self, key: PoolKey) -> Pool:
        """Return the pool of that key, which is made when it is the first time."""
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = Pool(key, key.is_async, key.reuse)
        return pool

    # --- hiring -----------------------------------------------------------------------------------

    def hire(self, action: Action, room: int, now: float) -> None:
        """Ask for as many workers as could start work at once, and are not already on their way.

        Args:
            action: The first of those in its lane, which nobody takes.
            room: So many of them there are resources for.
            now: The time.
        """
        task = action.task
        assert task is not None
        lane, pool = task.lane, task.lane.pool
        workers = pool.workers.values()
        free = [w for w in workers if not w.stopping and not w.load and not w.blocked]
        if pool.is_async and task.makes_calls:
            hosts = sum(1 for w in workers if w.blocked and not w.spent)
            if hosts >= self.cores:
                return
        together = min(pool.concurrency, action.company)
        wanted = min(-(-lane.count // together), room, 2 * self.cores)
        for _ in range(missing(pool, wanted - len(free))):
            if not self.has_devices(pool):
                self._free_devices(pool)
                return
            self._spawn(pool, now)

    def _spawn(self, pool: Pool, now: float) -> None:
        worker = Worker(self._next, pool, idle_since=now)
        self._next += 1
        if pool.gpu:
            worker.devices = self.devices.find(pool.gpu, pool.device) or ()
            self.devices.take(worker.devices, pool.gpu)
        pool.workers[worker.number] = self.workers[worker.number] = worker
        self._effects.spawns.append(worker)

    # --- devices ----------------------------------------------------------------------------------

    def has_devices(self, pool: Pool) -> bool:
        """Whether there are devices for one more worker of the pool."""
        return not pool.gpu or self.devices.find(pool.gpu, pool.device) is not None

    def lacks_devices(self, pool: Pool) -> bool:
        """Whether neither a free worker has devices for the pool, nor could another one."""
        if self.has_devices(pool):
            return False
        hosts = pool.is_async
        workers = pool.workers.values()
        return not any(not w.load and not w.stopping and (hosts or not w.blocked) for w in workers)

    def _free_devices(self, pool: Pool) -> None:
        """Let go of idle workers that have the devices the pool needs, those idle for long first.

        Nobody has to go in vain.
        """
        bound = [w for w in self.workers.values() if w.devices and not w.attempts]
        freed = [(w.devices, w.pool.gpu) for w in bound if w.stopping]
        idle = [w for w in bound if w.ready and not w.stopping and w.pool is not pool]
        idle.sort(key=lambda worker: worker.idle_since)
        leaving: list[Worker] = []
        while self.devices.find(pool.gpu, pool.device, freed) is None:
            if not idle:
                return
            leaving.append(idle.pop(0))
            freed.append((leaving[-1].devices, leaving[-1].pool.gpu))
        for worker in leaving:
            self._retire(worker)

    # --- leaving ----------------------------------------------------------------------------------

    def retire_idle(self, now: float) -> list[Pool]:
        """Let go of workers that have had nothing to do for long; return pools that are over."""
        over = []
        for pool in list(self.pools.values()):
            for worker in superfluous(pool, self.cores, now):
                self._retire(worker)
            if pool.over and not pool.workers:
                over.append(self.pools.pop(pool.key))
        return over

    def wear_out(self, worker: Worker) -> None:
        """The worker is to be given nothing more, and to go when it has nothing to do."""
        worker.left = -MANY
        self.replace_spent(worker)

    def replace_spent(self, worker: Worker) -> None:
        """Let go of a worker that may do no more, once it has ended what it has begun."""
        if worker.ready and not worker.attempts and not worker.stopping:
            self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        worker.stopping = True
        worker.outbox.append(Quit())
        self._effects.told[worker.number] = worker

    def remove(self, worker: Worker) -> None:
        """Forget a worker that is gone; its attempts have been detached."""
        self.devices.give(worker.devices, worker.pool.gpu)
        del self.workers[worker.number]
        del worker.pool.workers[worker.number]
        self._effects.told.pop(worker.number, None)
