"""The workloads: each is a root task that times itself inside a worker and returns the figures."""

import asyncio
import resource
import sys
import time
from typing import Any

import perdure

env = perdure.TaskEnvironment("bench")


@env.task
async def noop_async(i: int) -> int:
    return i


@env.task
def noop(i: int) -> int:
    return i


@env.task
def busy(seconds: float) -> float:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return seconds


@env.task
async def fan_out(n: int) -> dict[str, Any]:
    """``asyncio.gather`` over n no-op async tasks."""
    start = time.perf_counter()
    values = await asyncio.gather(*(noop_async(i) for i in range(n)))
    seconds = time.perf_counter() - start
    assert sum(values) == n * (n - 1) // 2
    return {"tasks_per_s": n / seconds}


@env.task
async def fan_out_sync(n: int) -> dict[str, Any]:
    """``asyncio.gather`` over n no-op sync tasks."""
    start = time.perf_counter()
    values = await asyncio.gather(*(noop.aio(i) for i in range(n)))
    seconds = time.perf_counter() - start
    assert sum(values) == n * (n - 1) // 2
    return {"tasks_per_s": n / seconds}


@env.task
def map_sync(n: int) -> dict[str, Any]:
    """``perdure.map`` over n no-op sync tasks from a sync parent, in flat memory."""
    before = peak_mb()
    start = time.perf_counter()
    total = sum(perdure.map(noop, range(n)))
    seconds = time.perf_counter() - start
    assert total == n * (n - 1) // 2
    return {"tasks_per_s": n / seconds, "parent_growth_mb": peak_mb() - before}


@env.task
async def sequential_async(n: int) -> dict[str, Any]:
    """n calls of a no-op, one after the other, from an async parent."""
    await noop_async(-1)
    start = time.perf_counter()
    for i in range(n):
        await noop_async(i)
    return {"us_per_call": (time.perf_counter() - start) / n * 1e6}


@env.task
def sequential_sync(n: int) -> dict[str, Any]:
    """n calls of a no-op, one after the other, from a sync parent."""
    noop(-1)
    start = time.perf_counter()
    for i in range(n):
        noop(i)
    return {"us_per_call": (time.perf_counter() - start) / n * 1e6}


@env.task
async def branch(b: int, m: int) -> int:
    return sum(await asyncio.gather(*(noop_async(b * m + i) for i in range(m))))


@env.task
async def nested(m: int) -> dict[str, Any]:
    """m parents of m leaves each."""
    start = time.perf_counter()
    total = sum(await asyncio.gather(*(branch(b, m) for b in range(m))))
    seconds = time.perf_counter() - start
    assert total == m * m * (m * m - 1) // 2
    return {"leaves_per_s": m * m / seconds}


@env.task
async def cpu_bound(n: int, seconds: float) -> dict[str, Any]:
    """n tasks that keep a core busy, on all cores."""
    await busy.aio(0.01)
    start = time.perf_counter()
    await asyncio.gather(*(busy.aio(seconds) for _ in range(n)))
    return {"wall_s": time.perf_counter() - start}


def peak_mb() -> float:
    """Return the peak resident memory of this process."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1024 * 1024 if sys.platform == "darwin" else 1024)


WORKLOADS: dict[str, tuple[Any, dict[str, Any]]] = {
    "fan-out 10k async": (fan_out, {"n": 10_000}),
    "fan-out 10k sync": (fan_out_sync, {"n": 10_000}),
    "fan-out 100k async": (fan_out, {"n": 100_000}),
    "map 100k": (map_sync, {"n": 100_000}),
    "map 1M": (map_sync, {"n": 1_000_000}),
    "nested 100 x 100": (nested, {"m": 100}),
    "sequential async": (sequential_async, {"n": 1000}),
    "sequential sync": (sequential_sync, {"n": 1000}),
    "cpu-bound 200 x 50 ms": (cpu_bound, {"n": 200, "seconds": 0.05}),
}
