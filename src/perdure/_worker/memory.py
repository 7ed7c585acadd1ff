"""How much memory processes use, and how much is left, as the kernel tells (Linux).

What counts is what cannot be dropped: anonymous memory, shared memory (``/dev/shm``), and what of
them was swapped out. Clean pages of files do not count. Large values are mapped from files that
siblings map, too; the kernel takes those pages back whenever it needs them, so they are no reason
to stop anybody. (Files of a ``tmpfs`` are shared memory: there, mapped values do count.)

Pages that several processes have in common, such as those of a parent and the children it forked,
count in parts: the sum over all processes is what they use together (PSS). To know that, the kernel
has to look at every page, so cheaper figures that can only be too high are asked for first.
"""

import os
from collections.abc import Collection
from pathlib import Path

from perdure._engines.cgroups import groups

PAGE = os.sysconf("SC_PAGE_SIZE")
_HELD = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_SHARE = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")
_NAMES = {  # files with limit and usage, and the line of cached files; by version of control groups
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
_STALLED = 10.0  # per cent of ten seconds in which nothing ran for want of memory
_LEAST_FLOOR, _MOST_FLOOR = 256 << 20, 4 << 30


class Memory:
    """Reads what the kernel tells.

    Args:
        proc: Where the kernel tells of processes.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._group = _Limited(proc)
        self.total = min(self._machine(b"MemTotal:") or 0, self._group.limit or 1 << 62)

    # --- processes --------------------------------------------------------------------------------

    def resident(self, pid: int) -> int:
        """Return all that the process has in memory, mapped files included; cheap."""
        fields = self._read(f"{pid}/statm").split()
        return int(fields[1]) * PAGE if len(fields) > 1 else 0

    def held(self, pid: int) -> int:
        """Return what the process holds, pages that it has in common with others in full."""
        return _sum(self._read(f"{pid}/status"), _HELD)

    def share(self, pid: int) -> int:
        """Return what the process holds, its share of common pages; takes the kernel a while."""
        text = self._read(f"{pid}/smaps_rollup")
        return _sum(text, _SHARE) if _SHARE[0] in text else self.held(pid)

    def processes(self) -> set[int]:
        """Return the ids of all processes."""
        return {int(name) for name in os.listdir(self._proc) if name.isdecimal()}  # noqa: PTH208

    def family(self, pid: int) -> tuple[int, int]:
        """Return parent and process group of a process; (0, 0) if it is gone."""
        # The name, in brackets, may hold anything.
        fields = self._read(f"{pid}/stat").rpartition(b")")[2].split()
        return (int(fields[1]), int(fields[2])) if len(fields) > 2 else (0, 0)

    # --- the machine ------------------------------------------------------------------------------

    def available(self) -> int:
        """Return how much can be used before something has to give."""
        free = self._machine(b"MemAvailable:")
        left = self._group.left()
        return min(1 << 62 if free is None else free, 1 << 62 if left is None else left)

    def floor(self) -> int:
        """Return how much has to stay available; more while processes stall for want of memory.

        With much less than a tenth, the kernel drops the very code that processes run, to read it
        from disk again and again; then nobody acts in time any more, we neither.
        """
        floor = min(max(self.total // 10, _LEAST_FLOOR), _MOST_FLOOR)
        return 2 * floor if self._stalled() > _STALLED else floor

    def _stalled(self) -> float:
        for line in self._read("pressure/memory").splitlines():
            if line.startswith(b"full avg10="):
                return float(line.split()[1].partition(b"=")[2])
        return 0.0

    def _machine(self, name: bytes) -> int | None:
        text = self._read("meminfo")
        return _sum(text, (name,)) if name in text else None

    def _read(self, name: str) -> bytes:
        return read(f"{self._proc}/{name}")


class _Limited:
    """The nearest control group of this process that limits memory: a container's, mostly."""

    def __init__(self, proc: str) -> None:
        self._usage = self._stat = self._idle = ""
        self.limit: int | None = None
        for version, folder in groups("memory", Path(proc)):
            limit, usage, idle = _NAMES[version]
            text = read(f"{folder}/{limit}").strip()
            if text.isdigit() and int(text) < 1 << 60:  # "max", or what version 1 has for it
                self.limit = int(text)
                self._usage, self._stat, self._idle = (
                    f"{folder}/{usage}",
                    f"{folder}/memory.stat",
                    idle,
                )
                return

    def left(self) -> int | None:
        """Return how much of the limit is left, None if there is none."""
        if self.limit is None:
            return None
        used = read(self._usage).strip()
        idle = 0  # pages of files that the kernel would drop
        for line in read(self._stat).splitlines():
            name, _, size = line.partition(b" ")
            if name.decode() == self._idle:
                idle = int(size)
        return max(0, self.limit - int(used or b"0") + idle)


class Trees:
    """Which processes belong to which worker.

    A process belongs to the worker that it descends from, or whose process group it is in; once it
    does, it always will, also when its parent has ended. Only processes that are new are looked at.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._owner: dict[int, int] = {}  # process -> worker's process, 0: nobody's

    def update(self, workers: Collection[int]) -> dict[int, list[int]]:
        """Return the processes of all the workers there are, the worker itself first."""
        there = self._memory.processes()
        owner = self._owner
        for gone in owner.keys() - there:
            del owner[gone]
        trees = {pid: [pid] for pid in workers}
        for pid in sorted(there - owner.keys()):  # parents come first, mostly
            owner[pid] = self._find(pid, trees)
        for pid, worker in owner.items():
            if worker in trees and pid != worker:
                trees[worker].append(pid)
        return trees

    def known(self, worker: int) -> list[int]:
        """Return the worker and those that were its processes at the last update."""
        return [worker, *(p for p, owner in self._owner.items() if owner == worker != p)]

    def _find(self, pid: int, workers: Collection[int]) -> int:
        if pid in workers:
            return pid
        parent, group = self._memory.family(pid)
        for _ in range(100):
            if group in workers:
                return group
            if parent in workers:
                return parent
            if parent <= 1:
                return 0
            if (known := self._owner.get(parent)) is not None:
                return known
            parent, group = self._memory.family(parent)
        return 0


def read(path: str) -> bytes:
    """Return what is in a file of the kernel, b"" if it is not there (any more)."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, 1 << 16)
    except OSError:
        return b""
    finally:
        os.close(file)


def _sum(text: bytes, names: tuple[bytes, ...]) -> int:
    """Return the sum of these lines, in bytes."""
    total = 0
    for name in names:
        at = text.find(name)
        if at >= 0:
            total += int(text[at + len(name) :].split(None, 1)[0])
    return total << 10
