"""Flyte 2 in local mode: everything in this process, nothing remembered (its default).

Its task calls write their outputs under ``raw``; nothing of that is read by a later run.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import flyte
import numpy as np
from flyte.io import File

from child import SPINS, Figures, efficiency, fail_once, hand_over_figures, rest, spin
from history import arrive, kill_and_resume

env = flyte.TaskEnvironment(name="bench")


def run(scratch: Path, task: Any, *arguments: Any) -> Any:
    """Run a root task and return its value."""
    for name in ("meta", "raw"):
        (scratch / name).mkdir(exist_ok=True)
    runner = flyte.with_runcontext(mode="local", raw_data_path=str(scratch / "raw"))
    runner._metadata_path = str(scratch / "meta")  # its default is a folder shared by all
    out = runner.run(task, *arguments).outputs()
    return out[0] if isinstance(out, tuple) else getattr(out, "o0", out)


@env.task
async def noop_async(i: int) -> int:
    return i


@env.task
def noop(i: int) -> int:
    return i


@env.task
def busy(turns: int) -> int:
    return spin(turns)


@env.task
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@env.task(retries=1)
def flaky(folder: str, item: int) -> int:
    return fail_once(folder, item)


@env.task
def resting(seconds: float) -> float:
    return rest(seconds)


@env.task
async def sequential_async_root(n: int) -> float:
    await noop_async(-1)
    start = time.perf_counter()
    for i in range(n):
        await noop_async(i)
    return time.perf_counter() - start


@env.task
def sequential_sync_root(n: int) -> float:
    noop(-1)
    start = time.perf_counter()
    for i in range(n):
        noop(i)
    return time.perf_counter() - start


@env.task
async def fan_out_root(n: int) -> float:
    start = time.perf_counter()
    assert sum(await asyncio.gather(*(noop_async(i) for i in range(n)))) == n * (n - 1) // 2
    return time.perf_counter() - start


@env.task
async def fan_out_sync_root(n: int) -> float:
    start = time.perf_counter()
    assert sum(await asyncio.gather(*(noop.aio(i) for i in range(n)))) == n * (n - 1) // 2
    return time.perf_counter() - start


@env.task
async def branch(first: int, m: int) -> int:
    return sum(await asyncio.gather(*(noop_async(i) for i in range(first, first + m))))


@env.task
async def nested_root(m: int) -> float:
    start = time.perf_counter()
    values = await asyncio.gather(*(branch(b * m, m) for b in range(m)))
    assert sum(values) == m * m * (m * m - 1) // 2
    return time.perf_counter() - start


@env.task
async def cpu_bound_root(n: int, turns: int) -> float:
    start = time.perf_counter()
    await asyncio.gather(*(busy.aio(turns) for _ in range(n)))
    return time.perf_counter() - start


@env.task
async def make(path: str, n: int) -> File:
    np.save(path, np.ones(n))
    return await File.from_local(path)


@env.task
async def total(file: File) -> float:
    return float(np.load(await file.download(), mmap_mode="r").sum())


@env.task
async def hand_over_root(path: str, n: int) -> list[float]:
    start = time.perf_counter()
    file = await make(path, n)
    assert await total(file) == n
    first = time.perf_counter()
    assert sum(await asyncio.gather(*(total(file) for _ in range(8)))) == 8 * n
    return [first - start, time.perf_counter() - first]


@env.task
async def sleepers_root(n: int, seconds: float) -> float:
    start = time.perf_counter()
    await asyncio.gather(*(nap(seconds) for _ in range(n)))
    return time.perf_counter() - start


@env.task
async def retries_root(n: int, folder: str) -> float:
    start = time.perf_counter()
    assert sum(await asyncio.gather(*(flaky.aio(folder, i) for i in range(n)))) == 2 * n
    return time.perf_counter() - start


@env.task
async def mixed_root(n: int, long_s: float) -> list[float]:
    start = time.perf_counter()
    half = [asyncio.ensure_future(resting.aio(0.0)) for _ in range(n // 2)]
    long = asyncio.ensure_future(resting.aio(long_s))
    await asyncio.gather(*half, *(resting.aio(0.0) for _ in range(n // 2)))
    short_s = time.perf_counter() - start
    await long
    return [short_s, time.perf_counter() - start]


@env.task(cache="auto")
async def remembered(i: int) -> int:
    return i


@env.task
async def late(folder: str) -> int:
    return arrive(Path(folder))


@env.task
async def flow_root(folder: str, n: int) -> int:
    await asyncio.gather(*(remembered(i) for i in range(n)))
    return await late(folder)


def sequential_async(scratch: Path, n: int) -> Figures:
    """n calls of a no-op, one after the other, from an async parent."""
    return {"us_per_call": run(scratch, sequential_async_root, n) / n * 1e6}


def sequential_sync(scratch: Path, n: int) -> Figures:
    """n calls of a no-op, one after the other, from a sync parent."""
    return {"us_per_call": run(scratch, sequential_sync_root, n) / n * 1e6}


def fan_out(scratch: Path, n: int) -> Figures:
    """``asyncio.gather`` over n no-op async tasks."""
    return {"tasks_per_s": n / run(scratch, fan_out_root, n)}


def fan_out_sync(scratch: Path, n: int) -> Figures:
    """``asyncio.gather`` over n no-op sync tasks."""
    return {"tasks_per_s": n / run(scratch, fan_out_sync_root, n)}


def nested_async(scratch: Path, m: int) -> Figures:
    """m parents of m leaves each."""
    return {"leaves_per_s": m * m / run(scratch, nested_root, m)}


def cpu_bound(scratch: Path, n: int, turns: int = SPINS) -> Figures:
    """n sync tasks on threads of this process."""
    return efficiency(n, turns, lambda: run(scratch, cpu_bound_root, n, turns))


def hand_over(scratch: Path, mb: int) -> Figures:
    """An array as a ``File``, mapped by who reads it: its idiomatic way for large data."""
    flyte.init()
    n = mb * 125_000
    one, eight = run(scratch, hand_over_root, str(scratch / "array.npy"), n)
    return hand_over_figures(n, one, eight)


def sleepers(scratch: Path, n: int, seconds: float) -> Figures:
    """n async tasks on the one loop."""
    return {"wall_s": run(scratch, sleepers_root, n, seconds)}


def retries(scratch: Path, n: int) -> Figures:
    """n tasks at once of which each fails at its first attempt."""
    (scratch / "calls").mkdir()
    return {"tasks_per_s": n / run(scratch, retries_root, n, str(scratch / "calls"))}


def mixed(scratch: Path, n: int, long_s: float) -> Figures:
    """A long task in the midst of n short ones."""
    short_s, all_s = run(scratch, mixed_root, n, long_s)
    return {"short_done_s": short_s, "all_done_s": all_s}


def resume(scratch: Path, n: int) -> Figures:
    """What a second run of the same script finds in the local cache; it has no resume."""
    return kill_and_resume("flyte", scratch, n)


def flow(scratch: Path, n: int) -> None:
    """Run it, or run it again."""
    run(scratch, flow_root, str(scratch), n)
