"""Cells: control groups (version 2) in which the kernel itself keeps workers to their memory.

The forkserver looks at what workers use, and ends who uses too much; between two looks one can take
gigabytes. Where this process is in a control group that it has to itself and may divide, such as
that of a container or of a ``systemd-run --user --scope``, the kernel stands guard in addition::

    group                    where this process was found
    ├── perdure-PID          this process, forkservers, workers whose memory is not limited
    └── perdure-PID-WORKER   a cell: a worker whose memory is limited, and what it starts

A group whose groups have limits may not have processes of its own. So those in it are moved: only
when a limit is set for the first time, only if every one of them is this process, a forkserver, or
descends from one, and back again in the end. Where the kernel, or anything else, says no, all stays
as it was, and looking has to do.

Cells and looks count differently: the kernel counts who was the first to touch a page, from the
moment it is in its cell; files that are cached, which it drops before it stops anybody; memory of
its own. So a cell does not say how much a worker has, but how much *more* it may take.
"""

import contextlib
import enum
import logging
import os
from collections.abc import Callable, Collection
from pathlib import Path

from perdure._engines.cgroups import own_group

_NAME = "perdure-"
_ROUNDS = 10  # of moving processes that start others meanwhile
_log = logging.getLogger("perdure")


class Kernel:
    """Control groups as the kernel shows them. Whatever it refuses is an ``OSError``."""

    def read(self, path: Path) -> str:
        """Return what a file tells."""
        return path.read_text(errors="replace")  # processes have any name

    def write(self, path: Path, text: str) -> None:
        """Tell a file something, in one go."""
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)

    def make(self, group: Path) -> None:
        """Make a group."""
        group.mkdir()

    def remove(self, group: Path) -> None:
        """Remove a group without processes and groups; its files go with it."""
        group.rmdir()

    def children(self, group: Path) -> list[Path]:
        """Return the groups in a group."""
        return [each for each in group.iterdir() if each.is_dir()]

    def parent(self, pid: int) -> int:
        """Return the parent of a process."""
        return int(self.read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[1])


class _RefusedError(Exception):
    """The group is not ours alone, or not one that can be divided."""


class Division:
    """The control group of this process, divided as long as workers have limits.

    Args:
        kernel: Makes groups.
        find: Finds the group of this process.
    """

    def __init__(
        self, kernel: Kernel | None = None, find: Callable[[], Path | None] = own_group
    ) -> None:
        self._kernel = kernel or Kernel()
        self._find = find
        self._main: Path | None = None

    def open(self, servers: Collection[int]) -> str:
        """Divide the group, if that can be done.

        Args:
            servers: Forkservers of this process; what descends from them may be moved as well.

        Returns:
            With what the paths of cells begin; "" if there can be none.
        """
        try:
            group = self._find()
            if group is None:
                raise _RefusedError("control groups of version 2 are not there")
            self._check(group, servers)
            _clear(self._kernel, group)
            self._main = group / f"{_NAME}{os.getpid()}"
            self._divide(group, self._main, servers)
        except (OSError, _RefusedError) as error:
            _log.debug("the memory of workers is limited without control groups: %s", error)
            self.close()
            return ""
        return f"{self._main}-"

    def close(self) -> None:
        """Put everything back as it was, as far as the kernel lets us."""
        main, self._main = self._main, None
        if main is not None:
            _unite(self._kernel, main)

    def _check(self, group: Path, servers: Collection[int]) -> None:
        # The outermost group of all, which is everybody's, has no type.
        if self._kernel.read(group / "cgroup.type").strip() != "domain":
            raise _RefusedError(f"{group} divides threads")
        if "memory" not in self._kernel.read(group / "cgroup.controllers").split():
            raise _RefusedError(f"memory cannot be limited in {group}")
        if str(os.getpid()) not in self._processes(group, servers):
            raise _RefusedError(f"{group} is not where this process is")

    def _processes(self, group: Path, servers: Collection[int]) -> list[str]:
        """Return the processes of the group, all of them ours."""
        pids = self._kernel.read(group / "cgroup.procs").split()
        for pid in map(int, pids):
            if pid != os.getpid() and not self._descends(pid, servers):
                raise _RefusedError(f"process {pid} is in {group}, too")
        return pids

    def _descends(self, pid: int, servers: Collection[int]) -> bool:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            while pid > 1 and pid not in servers:
                pid = self._kernel.parent(pid)
            return pid in servers
        return True  # it has ended

    def _divide(self, group: Path, main: Path, servers: Collection[int]) -> None:
        self._kernel.make(main)
        for _ in range(_ROUNDS):
            pids = self._processes(group, servers)
            if not pids:
                break
            for pid in pids:
                _move(self._kernel, pid, main)
        self._kernel.write(group / "cgroup.subtree_control", "+memory")
        self._kernel.read(main / "memory.oom.group")  # Linux 4.19


class Cause(enum.Enum):
    """Why a worker of a cell was killed, as far as memory is concerned."""

    OVER = "it took more than it might"
    SHORT = "there was no more, on the machine or in an outer group"
    OTHER = "no want of memory"


class Cells:
    """The cells of workers, as their forkserver sees to them.

    Where the kernel refuses one, or ceases to keep it, the worker goes on without.

    Args:
        prefix: With what their paths begin; "": there are none.
        kernel: Makes groups.
    """

    def __init__(self, prefix: str = "", kernel: Kernel | None = None) -> None:
        self._prefix = prefix
        self._kernel = kernel or Kernel()
        self._cells: dict[int, Path] = {}
        self._left: list[Path] = []

    def limit(self, pid: int, worker: int, memory: int) -> None:
        """From now on the worker may take so many bytes more than it has; 0: what there is."""
        with contextlib.suppress(OSError):
            cell = self._cells.get(pid)
            if cell is None and memory and self._prefix:
                cell = self._enter(pid, worker)
            if cell is not None:
                bound = self._bound(cell, memory) if memory else "max"
                self._kernel.write(cell / "memory.max", str(bound))

    def leave(self, pid: int) -> Cause | None:
        """Remove the cell of a worker that has ended; tell why, None if it had none."""
        cell = self._cells.pop(pid, None)
        if cell is None:
            return None
        events: dict[str, int] = {}
        with contextlib.suppress(OSError):
            events = _fields(self._kernel.read(cell / "memory.events"))
        self._left.append(cell)
        self._clear()
        if not events.get("oom_kill"):
            return Cause.OTHER
        return Cause.OVER if events.get("oom") else Cause.SHORT

    def close(self, *, unite: bool = False) -> None:
        """Remove all cells whose processes have ended.

        Args:
            unite: Whether whoever has divided the group is dead, and cannot do its part.
        """
        self._left += self._cells.values()
        self._cells.clear()
        self._clear()
        if unite and self._prefix:
            _unite(self._kernel, Path(self._prefix[:-1]))

    def _enter(self, pid: int, worker: int) -> Path:
        cell = Path(f"{self._prefix}{worker:x}")
        self._clear()
        self._kernel.make(cell)
        self._cells[pid] = cell
        self._kernel.write(cell / "memory.oom.group", "1")
        with contextlib.suppress(FileNotFoundError):  # this kernel does not count what it swaps
            self._kernel.write(cell / "memory.swap.max", "0")
        self._kernel.write(cell / "cgroup.procs", str(pid))
        return cell

    def _bound(self, cell: Path, memory: int) -> int:
        """Return the bound to everything in the cell under which so much can be added.

        Cached files make room for it. They are not dropped at once: if the bound were below what
        is there, the kernel would make us wait until all of them are on disk.
        """
        stat = _fields(self._kernel.read(cell / "memory.stat"))
        cached = stat["active_file"] + stat["inactive_file"]
        return int(self._kernel.read(cell / "memory.current")) + max(memory - cached, 0)

    def _clear(self) -> None:
        """Remove what is left, except where something that a worker started goes on."""
        left, self._left = self._left, []
        for cell in left:
            try:
                self._kernel.remove(cell)
            except FileNotFoundError:
                pass
            except OSError:
                self._left.append(cell)


def _unite(kernel: Kernel, main: Path) -> None:
    """Undo the division of a group, in which ``main`` was made for what had been there."""
    group = main.parent
    with contextlib.suppress(OSError):
        kernel.write(group / "cgroup.subtree_control", "-memory")
    with contextlib.suppress(OSError):
        # Whatever else is in there by now was started by what we have moved.
        for pid in kernel.read(main / "cgroup.procs").split():
            _move(kernel, pid, group)
    with contextlib.suppress(OSError):
        _clear(kernel, group)


def _move(kernel: Kernel, pid: str, group: Path) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        kernel.write(group / "cgroup.procs", pid)


def _clear(kernel: Kernel, group: Path) -> None:
    """Remove groups that this process, or one that has died, has left behind."""
    for each in kernel.children(group):
        owner = each.name.removeprefix(_NAME).partition("-")[0]
        if each.name.startswith(_NAME) and owner.isdecimal() and not _lives(kernel, int(owner)):
            with contextlib.suppress(OSError):  # something is in it
                kernel.remove(each)


def _lives(kernel: Kernel, pid: int) -> bool:
    """Whether another process of that number lives."""
    try:
        return pid != os.getpid() and kernel.parent(pid) >= 0
    except (FileNotFoundError, ProcessLookupError):
        return False


def _fields(text: str) -> dict[str, int]:
    """Return the numbers of a file by name."""
    return {name: int(value) for name, value in map(str.split, text.splitlines())}
