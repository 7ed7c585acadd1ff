"""Prefect with the ephemeral server that a flow starts by itself (a process, SQLite).

The server's database is made anew every time; that is start-up and not in any figure but where the
whole process is measured, and there a first process has made it.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "true")
os.environ.setdefault("PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY", "false")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

import numpy as np
from prefect import flow as prefect_flow
from prefect import task
from prefect.cache_policies import INPUTS, NO_CACHE
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from child import CORES, SPINS, Figures, efficiency, fail_once, hand_over_figures, rest, spin
from history import arrive, kill_and_resume

threads: Any = ThreadPoolTaskRunner(max_workers=16)
processes: Any = ProcessPoolTaskRunner(max_workers=CORES)


@task
def noop(i: int) -> int:
    return i


@task
async def noop_async(i: int) -> int:
    return i


@task
def branch(first: int, m: int) -> int:
    return sum(noop.map(range(first, first + m)).result())


@task
def busy(turns: int) -> int:
    return spin(turns)


@task(cache_policy=NO_CACHE)
def make(n: int) -> np.ndarray:
    return np.ones(n)


@task(cache_policy=NO_CACHE)
def total(array: np.ndarray) -> float:
    return float(array.sum())


@task
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@task(retries=1)
def flaky(folder: str, item: int) -> int:
    return fail_once(folder, item)


@task
def resting(seconds: float) -> float:
    return rest(seconds)


@task(persist_result=True, cache_policy=INPUTS)
def remembered(i: int) -> int:
    return i


@task
def late(folder: str) -> int:
    return arrive(Path(folder))


@prefect_flow
def sequential_sync_root(n: int) -> float:
    noop(-1)
    start = time.perf_counter()
    for i in range(n):
        noop(i)
    return time.perf_counter() - start


@prefect_flow
async def sequential_async_root(n: int) -> float:
    await noop_async(-1)
    start = time.perf_counter()
    for i in range(n):
        await noop_async(i)
    return time.perf_counter() - start


@prefect_flow(task_runner=threads)
def fan_out_root(n: int) -> float:
    noop(-1)
    start = time.perf_counter()
    assert sum(noop.map(range(n)).result()) == n * (n - 1) // 2
    return time.perf_counter() - start


@prefect_flow(task_runner=ThreadPoolTaskRunner(max_workers=32))
def nested_root(m: int) -> float:
    noop(-1)
    start = time.perf_counter()
    parents = branch.map(range(0, m * m, m), m=m)
    assert sum(parents.result()) == m * m * (m * m - 1) // 2
    return time.perf_counter() - start


@prefect_flow(task_runner=processes)
def cpu_bound_root(n: int, turns: int) -> float:
    busy.map([1] * 8).result()
    start = time.perf_counter()
    busy.map([turns] * n).result()
    return time.perf_counter() - start


@prefect_flow(task_runner=threads)
def hand_over_root(n: int) -> tuple[float, float]:
    total(np.ones(10))
    start = time.perf_counter()
    array = make.submit(n)
    assert total.submit(array).result() == n
    first = time.perf_counter()
    assert sum(future.result() for future in [total.submit(array) for _ in range(8)]) == 8 * n
    return first - start, time.perf_counter() - first


@prefect_flow
async def sleepers_root(n: int, seconds: float) -> float:
    await nap(0.0)
    start = time.perf_counter()
    await asyncio.gather(*(nap(seconds) for _ in range(n)))
    return time.perf_counter() - start


@prefect_flow(task_runner=threads)
def retries_root(n: int, folder: str) -> float:
    noop(-1)
    start = time.perf_counter()
    assert sum(flaky.map([folder] * n, range(n)).result()) == 2 * n
    return time.perf_counter() - start


@prefect_flow(task_runner=threads)
def mixed_root(n: int, long_s: float) -> tuple[float, float]:
    noop(-1)
    start = time.perf_counter()
    short = list(resting.map([0.0] * (n // 2)))
    long = resting.submit(long_s)
    short += resting.map([0.0] * (n // 2))
    for future in short:
        future.result()
    short_s = time.perf_counter() - start
    long.result()
    return short_s, time.perf_counter() - start


@prefect_flow(task_runner=threads)
def flow_root(folder: str, n: int) -> int:
    remembered.map(range(n)).result()
    return late(folder)


def sequential_sync(_: Path, n: int) -> Figures:
    """n calls of a no-op, one after the other, in a sync flow."""
    return {"us_per_call": sequential_sync_root(n) / n * 1e6}


def sequential_async(_: Path, n: int) -> Figures:
    """n calls of a no-op, one after the other, in an async flow."""
    return {"us_per_call": asyncio.run(sequential_async_root(n)) / n * 1e6}


def fan_out(_: Path, n: int) -> Figures:
    """``map`` on threads."""
    return {"tasks_per_s": n / fan_out_root(n)}


def nested_sync(_: Path, m: int) -> Figures:
    """m tasks that map over m leaves each."""
    return {"leaves_per_s": m * m / nested_root(m)}


def cpu_bound(_: Path, n: int, turns: int = SPINS) -> Figures:
    """n tasks in worker processes."""
    return efficiency(n, turns, lambda: float(cpu_bound_root(n, turns)))


def hand_over(_: Path, mb: int) -> Figures:
    """An array from thread to thread: not handed over and not persisted, as is the default."""
    n = mb * 125_000
    one, eight = hand_over_root(n)
    return hand_over_figures(n, one, eight)


def sleepers(_: Path, n: int, seconds: float) -> Figures:
    """n async tasks on one loop."""
    return {"wall_s": asyncio.run(sleepers_root(n, seconds))}


def retries(scratch: Path, n: int) -> Figures:
    """n tasks at once of which each fails at its first attempt."""
    (scratch / "calls").mkdir()
    return {"tasks_per_s": n / retries_root(n, str(scratch / "calls"))}


def mixed(_: Path, n: int, long_s: float) -> Figures:
    """A long task in the midst of n short ones."""
    short_s, all_s = mixed_root(n, long_s)
    return {"short_done_s": short_s, "all_done_s": all_s}


def resume(scratch: Path, n: int) -> Figures:
    """What a second run finds of persisted results, by their inputs; it has no resume."""
    return kill_and_resume("prefect", scratch, n)


def flow(scratch: Path, n: int) -> None:
    """Run it, or run it again."""
    flow_root(str(scratch), n)
