"""Tasks that claim what they asked for, and fail if somebody else has it at the same time.

The machine is said to have two cores, two GPUs and one licence.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import perdure

SEEN_AT_IMPORT = os.environ.get("CUDA_VISIBLE_DEVICES")

env = perdure.TaskEnvironment("claims", resources=perdure.Resources(cpu=1))


@contextmanager
def claimed(folder: Path, *names: str) -> Iterator[str]:
    """Have one of these things for oneself."""
    for name in names:
        path = folder / name
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        try:
            yield name
        finally:
            path.unlink()
        return
    raise RuntimeError(f"none of {names} is free")


def a_core(folder: Path):
    return claimed(folder, "core 0", "core 1")


@env.task
def leaf(folder: Path, n: int) -> int:
    with a_core(folder):
        sum(range(20_000))
        return n


@env.task
def parent(folder: Path, n: int) -> int:
    total = 0
    for k in range(3):
        with a_core(folder):
            call = leaf.submit(folder, 3 * n + k)
        total += call.result()
    with a_core(folder):
        calls = [leaf.submit(folder, 1000 * n + k) for k in range(4)]
    for call in perdure.as_completed(calls):
        with a_core(folder):
            total += call.result() * 0
    return total


@env.task(resources=perdure.Resources(cpu=0))
async def cores(folder: Path) -> int:
    calls = [parent.submit(folder, n) for n in range(4)]
    return sum([await call for call in calls])


@env.task(resources=perdure.Resources(cpu=0.1, gpu=1))
def one_device(folder: Path, n: int) -> tuple[str, str | None, tuple[str, ...]]:
    device = os.environ["CUDA_VISIBLE_DEVICES"]
    with claimed(folder, f"device {device}"):
        return device, SEEN_AT_IMPORT, perdure.ctx().devices


@env.task(resources=perdure.Resources(cpu=0.1, gpu=2))
async def both_devices(folder: Path) -> str:
    with claimed(folder, "device 0"), claimed(folder, "device 1"):
        return os.environ["CUDA_VISIBLE_DEVICES"]


@env.task(resources=perdure.Resources(cpu=0.1))
def devices(folder: Path):
    assert SEEN_AT_IMPORT == ""
    ones = [one_device.submit(folder, n) for n in range(6)]
    both = both_devices.submit(folder)
    more = [one_device.submit(folder, n) for n in range(6, 9)]
    return [f.result() for f in ones], both.result(), [f.result() for f in more]


@env.task(resources=perdure.Resources(cpu=0.1, custom={"licence": 1}))
def licensed(folder: Path, n: int) -> int:
    with claimed(folder, "licence"):
        return n


@env.task(resources=perdure.Resources(cpu=0.1))
def licences(folder: Path) -> list[int]:
    return list(perdure.map(licensed, [folder] * 10, range(10)))


@env.task(resources=perdure.Resources(cpu=0.1, custom={"licence": 1}))
def licensed_parent(folder: Path) -> int:
    return licensed(folder, 0)
