"""How much processes use, as the kernel tells whoever asks (Linux; elsewhere nothing is known).

It is the one who looks that measures, not the controller, which has other things to do.
"""

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from perdure._worker.memory import Memory, Trees, read

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What a process uses, with all that it has started.

    Attributes:
        cpu: Cores, since the last look; None at the first.
        memory: Bytes that no file could give back: see ``_worker/memory.py``.
        processes: How many processes it is.
    """

    cpu: float | None
    memory: int
    processes: int


class MachineUse(msgspec.Struct, frozen=True, kw_only=True):
    """What all processes of a machine use.

    Attributes:
        cores: How many cores it has.
        cpu: How many are busy, since the last look; None at the first, or if that is not known.
        memory: Bytes that are not available; None if that is not known.
        total: Bytes of memory; within the limit of a container.
    """

    cores: int
    cpu: float | None
    memory: int | None
    total: int | None


class Meter:
    """Measures, and remembers for the next time.

    Args:
        proc: Where the kernel tells of processes.
        clock: Tells the seconds between two looks.
    """

    def __init__(self, proc: str = "/proc", clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._memory = Memory(proc) if Path(proc).is_dir() else None
        self._trees = Trees(self._memory) if self._memory else None
        self._seconds: dict[int, tuple[float, float]] = {}
        self._busy: tuple[float, float] | None = None

    def processes(self, pids: Collection[int]) -> dict[int, Use]:
        """Return what these processes use; those that are gone are left out."""
        if self._memory is None or self._trees is None:
            return {}
        now, uses = self._clock(), {}
        seconds: dict[int, tuple[float, float]] = {}
        for pid, tree in self._trees.update(pids).items():
            spent = self._spent(pid)
            if spent is None:
                continue
            spent += sum(self._spent(each) or 0.0 for each in tree[1:])
            seconds[pid] = now, spent
            uses[pid] = Use(
                cpu=self._rate(pid, now, spent),
                memory=sum(map(self._memory.held, tree)),
                processes=len(tree),
            )
        self._seconds = seconds
        return uses

    def machine(self) -> MachineUse:
        """Return what the machine uses."""
        cores = os.cpu_count() or 1
        if self._memory is None:
            return MachineUse(cores=cores, cpu=None, memory=None, total=None)
        before, self._busy = self._busy, self._ticks()
        cpu = None
        if before is not None and self._busy is not None and self._busy[1] > before[1]:
            cpu = cores * (self._busy[0] - before[0]) / (self._busy[1] - before[1])
        total = self._memory.total
        return MachineUse(
            cores=cores, cpu=cpu, memory=max(0, total - self._memory.available()), total=total
        )

    def _spent(self, pid: int) -> float | None:
        """Return the seconds a process has computed, with children it has seen the end of."""
        fields = read(f"{self._proc}/{pid}/stat").rpartition(b")")[2].split()
        return sum(map(int, fields[11:15])) * _TICK if len(fields) > 15 else None

    def _rate(self, pid: int, now: float, spent: float) -> float | None:
        if pid not in self._seconds:
            return None
        then, before = self._seconds[pid]
        return max(0.0, (spent - before) / (now - then)) if now > then else None

    def _ticks(self) -> tuple[float, float] | None:
        """Return how long all cores were busy, and how long they were there."""
        first = read(f"{self._proc}/stat").partition(b"\n")[0].split()
        if len(first) < 6:
            return None
        times = [int(each) for each in first[1:9]]  # what guests use is in them
        idle = times[3] + times[4]
        return float(sum(times) - idle), float(sum(times))
