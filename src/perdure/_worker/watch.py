"""Watches the memory of workers, each against what its attempts asked for, and of the machine.

It is the forkserver that watches: it is there while user code in C holds the interpreter of a
worker, or of the process that started the run, and it can end a worker without asking anybody.
What the machine does about a shortage of its own is decided by the controller; it is told.

Looking costs: so a look follows the next one sooner the closer somebody is to a limit. It takes a
tenth of a millisecond, mostly. Where pages that processes have in common decide, it takes many, and
no more than a twentieth of a core is spent on it, as long as there are several looks a second. To
search for processes that workers have started is done less often than to look at those that are
known. Workers of tasks that declare no memory are not looked at; for the machine, a line of
``/proc/meminfo`` is read once a second while nothing is scarce.
"""

import os
import sys
import time
from collections.abc import Collection, Mapping

import msgspec

from perdure._core.model import LowMemory, MemoryUse
from perdure._worker.memory import PAGE, Memory, Trees

GROWTH = 4 << 30
"""Bytes a second by which processes may grow together; more than two cores can touch."""

LEAST_LIMIT = 32 << 20
"""Bytes that every worker may use, however little was asked for: before it executes anything, its
interpreter and the user's modules take some of what the request was meant for."""

SOONEST, LATEST = 0.02, 0.2
"""Seconds between two looks at workers; likewise at the machine, where nothing is near."""

LATEST_MACHINE = 1.0
SHARE_LOOKING, SHARE_SEARCHING = 0.05, 0.003
"""Of a core, that may be spent on it; waking up for it takes some, too."""


def enforced(request: int) -> int:
    """Return the limit that is kept where so much was asked for; 0: none."""
    return max(request, LEAST_LIMIT) if request else 0


class _Watched(msgspec.Struct):
    """A worker whose memory is limited, and how much its processes were seen to use.

    Attributes:
        limit: What they may use.
        before: What they held when that was said; ``left``: beyond what a fresh worker holds.
        peak: The most they were seen to use since.
    """

    limit: int
    before: int
    left: int
    peak: int


class Watch:
    """Says which workers are over their limits, and when the machine runs out of memory.

    Args:
        memory: Tells how much is used; None: nobody does, then nothing is ever found.
    """

    def __init__(self, memory: Memory | None) -> None:
        self._memory = memory
        self._trees = Trees(memory) if memory is not None else None
        self._watched: dict[int, _Watched] = {}
        self._families: dict[int, list[int]] = {}
        self._due = self._search_due = self._machine_due = 0.0

    def limit(self, pid: int, limit: int) -> None:
        """From now on the worker may use so many bytes; 0: as much as there is."""
        if not limit or self._memory is None or self._trees is None:
            self._watched.pop(pid, None)
            return
        before = sum(map(self._memory.held, self._trees.known(pid)))
        fresh = self._memory.held(os.getpid())  # whose pages a worker begins with
        self._watched[pid] = _Watched(limit, before, max(0, before - fresh), before)
        self._due = min(self._due, time.monotonic() + SOONEST)

    def stopped(self, pid: int) -> MemoryUse | None:
        """Return what a worker used that the kernel has stopped for it; None: it had no limit.

        It had taken as much as it might take in addition to what was there before. One more page it
        did not get; that counts, or else it would have kept to its request.
        """
        watched = self._watched.get(pid)
        if watched is None:
            return None
        peak = max(watched.peak, watched.before + watched.limit + PAGE)
        return MemoryUse(watched.limit, peak, watched.left)

    def forget(self, pid: int) -> None:
        """The worker is gone."""
        self._watched.pop(pid, None)
        self._families.pop(pid, None)

    def wait(self, workers: Collection[int]) -> float | None:
        """Return the seconds until the next look, None if there is nothing to look at."""
        if self._memory is None or not workers:
            return None
        due = min(self._due, self._machine_due) if self._watched else self._machine_due
        return max(0.0, due - time.monotonic())

    def look(self, workers: Collection[int]) -> list[tuple[list[int], MemoryUse]]:
        """Return those that are over their limits: all their processes, the worker's first."""
        now = time.monotonic()
        if self._memory is None or self._trees is None or not self._watched or now < self._due:
            return []
        self._search(workers, now)
        began = time.process_time()
        over = []
        room = GROWTH  # to the nearest limit
        for pid, watched in self._watched.items():
            used = self._used(self._families.get(pid, [pid]), watched.limit)
            watched.peak = max(watched.peak, used)
            room = min(room, watched.limit - used)
            if used > watched.limit:
                over.append((pid, MemoryUse(watched.limit, used, watched.left)))
        cost = time.process_time() - began
        pause = min(max(room / GROWTH, SOONEST, cost / SHARE_LOOKING), LATEST)
        self._due = time.monotonic() + pause
        if over:  # whoever was started a moment ago ends, too
            self._families = self._trees.update(workers)
        return [(self._families.get(pid, [pid]), use) for pid, use in over]

    def _search(self, workers: Collection[int], now: float) -> None:
        """Look for processes that workers have started, if it is time."""
        assert self._trees is not None
        if now < self._search_due and self._watched.keys() <= self._families.keys():
            return
        began = time.process_time()
        self._families = self._trees.update(workers)
        cost = time.process_time() - began
        self._search_due = now + min(max(SOONEST, cost / SHARE_SEARCHING), LATEST)

    def _used(self, tree: list[int], limit: int) -> int:
        """Return what the processes use, as exactly as it takes to tell that it is not too much."""
        memory = self._memory
        assert memory is not None
        for measure in (memory.resident, memory.held, memory.share):
            used = sum(map(measure, tree))
            if used <= limit:
                break
        return used

    def low(self, workers: Mapping[int, int]) -> LowMemory | None:
        """Return how short of memory the machine is, if it is; workers are named by number."""
        memory, now = self._memory, time.monotonic()
        if memory is None or self._trees is None or not workers or now < self._machine_due:
            return None
        available, floor = memory.available(), memory.floor()
        pause = min(max((available - floor) / GROWTH / 2, SOONEST), LATEST_MACHINE)
        self._machine_due = now + pause
        if available >= floor:
            return None
        trees = self._trees.update(workers)
        uses = {workers[pid]: sum(map(memory.held, trees[pid])) for pid in workers}
        return LowMemory(available, floor, uses)


def watch() -> Watch:
    """Return the watch of this machine."""
    return Watch(Memory() if sys.platform == "linux" else None)
