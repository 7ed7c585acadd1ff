"""How many workers a pool has: within its policy's bounds, and for how long without work."""

from perdure._core.model import MANY
from perdure._core.state import Pool, Task, Worker

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
