"""What is done when the machine runs out of memory although everybody keeps to what they asked for.

Tasks need not declare their memory, and other programs use some, too. Before the kernel has to
choose a victim, the shell says how much is left and who uses how much (``LowMemory``). Then:

* The newest attempts are stopped, as many as it takes: they lose the least. The oldest goes on, so
  that something is finished whatever happens. They run again, uncharged, and where attempts run
  together in smaller company.
* No more workers are busy than were left, so that the same does not happen again at once. Every
  calm second lets one more begin, as long as it is calm; after a while all is as before.
* Where only one is left, and it still grows, it needs more than there is. It fails.

If it is not our workers that use the memory, nothing is done: it would not help.
"""

from perdure._core import failures
from perdure._core.effects import Effects
from perdure._core.ends import WorkerEnd
from perdure._core.model import LowMemory
from perdure._core.timers import Timers
from perdure._core.workers import Worker

RELIEF_SECONDS = 1.0
"""How often one more worker may be busy, if memory has not been low since."""

CALM_SECONDS = 30.0
"""After so long all may be busy again."""

LEAST_USE = 32 << 20
"""Stopping a worker that uses less is not worth it."""


class Strain:
    """How many workers may be busy.

    Attributes:
        ceiling: At most so many; None while memory is not scarce.
    """

    def __init__(self, workers: dict[int, Worker], timers: Timers, effects: Effects) -> None:
        self._workers = workers
        self._timers = timers
        self._effects = effects
        self._last = 0.0
        self.ceiling: int | None = None

    @property
    def forbids(self) -> bool:
        """Whether no idle worker may be given work."""
        return self.ceiling is not None and len(self._busy()) >= self.ceiling

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.load]

    def low(self, memory: LowMemory, now: float) -> None:
        """The node has little memory left."""
        uses = {self._workers[n]: used for n, used in memory.uses.items() if n in self._workers}
        if sum(uses.values()) < memory.floor:
            return
        busy = self._busy()
        if not busy:
            return
        self._last = now
        if any(worker.killed for worker in uses):
            return  # what they have is about to be free
        busy.sort(key=_began)
        victims = self._choose(busy[1:], uses, memory)
        if not victims and memory.available < memory.floor // 4:
            used = uses.get(busy[0], 0)
            self._stop(busy[0], WorkerEnd(failures.alone(memory.available, used), guilty=True))
        for worker in victims:
            end = WorkerEnd(failures.squeezed(memory.available, uses[worker]), guilty=False)
            self._stop(worker, end)
        if self.ceiling is None:
            self._timers.at(now + RELIEF_SECONDS, self._relieve, now + RELIEF_SECONDS)
        self.ceiling = max(1, min(len(busy) - len(victims), self.ceiling or len(busy)))

    def _choose(
        self, younger: list[Worker], uses: dict[Worker, int], memory: LowMemory
    ) -> list[Worker]:
        """Return the newest that use enough, so many that there will be some room again."""
        victims, wanted = [], memory.floor * 3 // 2 - memory.available
        for worker in reversed(younger):
            if wanted > 0 and uses.get(worker, 0) >= LEAST_USE:
                victims.append(worker)
                wanted -= uses[worker]
        return victims

    def _stop(self, worker: Worker, end: WorkerEnd) -> None:
        worker.killed = worker.stopping = True
        worker.end = end
        self._effects.kills.append(worker)

    def _relieve(self, now: float) -> None:
        assert self.ceiling is not None
        calm = now - self._last
        if calm >= CALM_SECONDS:
            self.ceiling = None
            return
        if calm >= RELIEF_SECONDS:
            self.ceiling += 1
        self._timers.at(now + RELIEF_SECONDS, self._relieve, now + RELIEF_SECONDS)


def _began(worker: Worker) -> float:
    """Return when the oldest of what the worker executes was started."""
    return min(a.action.started or 0.0 for a in worker.attempts.values())
