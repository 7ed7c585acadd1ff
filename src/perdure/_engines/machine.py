"""What this machine has for attempts: the cores, memory and devices this process may use.

In a container that is less than the machine has: control groups say so. What is declared
(``PERDURE_RESOURCES``) is taken for what is found.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from perdure._core.model import Capacity, Device
from perdure._engines.cgroups import PROC, groups
from perdure._engines.gpus import devices_here

_SHARED_MEMORY = Path("/dev/shm")  # where shared memory is


def capacity_of_this_machine(
    home: Path, cpus: float | None = None, declared: Mapping[str, float | str] | None = None
) -> Capacity:
    """Return what this machine has for attempts.

    Args:
        home: Whose file system ``disk`` means.
        cpus: Cores that may be used; None: all this process may run on.
        declared: Amounts that are taken for what is found, and custom resources.
    """
    custom = dict(declared or {})
    gpu = custom.pop("gpu", None)
    kind = str(custom.pop("device", ""))
    found = {
        name: int(custom.pop(name)) if name in custom else look(home)
        for name, look in (("memory", _memory), ("disk", _disk), ("shm", _shm))
    }
    cpu = custom.pop("cpu", None) or cpus or _cores()
    devices = devices_here() if gpu is None else _declared_devices(int(gpu), kind)
    return Capacity(
        cpu=float(cpu),
        custom=tuple(sorted((name, float(amount)) for name, amount in custom.items())),
        devices=devices,
        **found,
    )


def _declared_devices(count: int, kind: str) -> tuple[Device, ...]:
    there = devices_here()[:count]
    more = range(len(there), count)
    return tuple(Device(d.name, kind or d.kind) for d in there) + tuple(
        Device(str(index), kind) for index in more
    )


def _cores() -> float:
    """Return the cores this process may run on, and may use in full."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min([float(cores), *_cpu_quotas()])


def _cpu_quotas() -> Iterator[float]:
    for _, folder in groups("cpu", PROC):
        with contextlib.suppress(OSError, ValueError):  # version 2: "max 100000", "150000 100000"
            quota, period = (folder / "cpu.max").read_text().split()
            yield int(quota) / int(period)
        with contextlib.suppress(OSError, ValueError):  # version 1; -1: no limit
            quota = (folder / "cpu.cfs_quota_us").read_text()
            if int(quota) > 0:
                yield int(quota) / int((folder / "cpu.cfs_period_us").read_text())


def _memory(home: Path) -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *_memory_limits()])


def _memory_limits() -> Iterator[int]:
    for _, folder in groups("memory", PROC):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # "max": no limit
                yield int((folder / name).read_text())


def _disk(home: Path) -> int:
    """Return the free space of the file system of the home."""
    there = next(path for path in (home, *home.parents) if path.exists())
    return shutil.disk_usage(there).free


def _shm(home: Path) -> int:
    """Return the size of the file system of shared memory."""
    return shutil.disk_usage(_SHARED_MEMORY).total if _SHARED_MEMORY.is_dir() else 0
