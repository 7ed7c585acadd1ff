"""DBOS on SQLite; steps and workflows run in this process.

As shipped its database has a rollback journal. WAL mode, as durable and half again as fast, is set
here before it is opened.
"""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from dbos import DBOS, SetWorkflowID

from child import SPINS, Figures, efficiency, fail_once, hand_over_figures, rest, spin
from history import arrive, kill_and_resume


@DBOS.step()
def noop(i: int) -> int:
    return i


@DBOS.step()
async def noop_async(i: int) -> int:
    return i


@DBOS.step()
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@DBOS.step()
def make(n: int) -> np.ndarray:
    return np.ones(n)


@DBOS.step()
def total(array: np.ndarray) -> float:
    return float(array.sum())


@DBOS.step(retries_allowed=True, max_attempts=2, interval_seconds=0.0)
async def flaky(folder: str, item: int) -> int:
    return fail_once(folder, item)


@DBOS.step()
def late(folder: str) -> int:
    return arrive(Path(folder))


@DBOS.workflow()
def sequential_sync_root(n: int) -> float:
    start = time.perf_counter()
    for i in range(n):
        noop(i)
    return time.perf_counter() - start


@DBOS.workflow()
async def sequential_async_root(n: int) -> float:
    start = time.perf_counter()
    for i in range(n):
        await noop_async(i)
    return time.perf_counter() - start


@DBOS.workflow()
async def fan_out_root(n: int) -> float:
    start = time.perf_counter()
    assert sum(await asyncio.gather(*(noop_async(i) for i in range(n)))) == n * (n - 1) // 2
    return time.perf_counter() - start


@DBOS.workflow()
async def branch(first: int, m: int) -> int:
    return sum(await asyncio.gather(*(noop_async(i) for i in range(first, first + m))))


@DBOS.workflow()
async def nested_root(m: int) -> float:
    start = time.perf_counter()
    handles = [await DBOS.start_workflow_async(branch, b * m, m) for b in range(m)]
    values = [await handle.get_result() for handle in handles]
    assert sum(values) == m * m * (m * m - 1) // 2
    return time.perf_counter() - start


@DBOS.workflow()
def busy(turns: int) -> int:
    return spin(turns)


@DBOS.workflow()
def cpu_bound_root(n: int, turns: int) -> float:
    start = time.perf_counter()
    for handle in [DBOS.start_workflow(busy, turns) for _ in range(n)]:
        handle.get_result()
    return time.perf_counter() - start


@DBOS.workflow()
def hand_over_root(n: int) -> list[float]:
    start = time.perf_counter()
    array = make(n)
    assert total(array) == n
    first = time.perf_counter()
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: float(array.sum()), range(8))) == 8 * n
    return [first - start, time.perf_counter() - first]


@DBOS.workflow()
async def sleepers_root(n: int, seconds: float) -> float:
    start = time.perf_counter()
    await asyncio.gather(*(nap(seconds) for _ in range(n)))
    return time.perf_counter() - start


@DBOS.workflow()
async def retries_root(n: int, folder: str) -> float:
    start = time.perf_counter()
    assert sum(await asyncio.gather(*(flaky(folder, i) for i in range(n)))) == 2 * n
    return time.perf_counter() - start


@DBOS.workflow()
def resting(seconds: float) -> float:
    return rest(seconds)


@DBOS.workflow()
def mixed_root(n: int, long_s: float) -> list[float]:
    start = time.perf_counter()
    short = [DBOS.start_workflow(resting, 0.0) for _ in range(n // 2)]
    long = DBOS.start_workflow(resting, long_s)
    short += [DBOS.start_workflow(resting, 0.0) for _ in range(n // 2)]
    for handle in short:
        handle.get_result()
    short_s = time.perf_counter() - start
    long.get_result()
    return [short_s, time.perf_counter() - start]


@DBOS.workflow()
async def flow_root(folder: str, n: int) -> int:
    await asyncio.gather(*(noop_async(i) for i in range(n)))
    return late(folder)


@contextmanager
def launched(scratch: Path) -> Iterator[None]:
    """DBOS over a database in the scratch folder."""
    with closing(sqlite3.connect(scratch / "dbos.sqlite")) as database:
        database.execute("PRAGMA journal_mode=WAL")
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{scratch}/dbos.sqlite",
            "log_level": "ERROR",
            "application_version": "1",
            "executor_id": "local",
        }
    )
    DBOS.launch()
    try:
        yield
    finally:
        DBOS.destroy()


def sequential_sync(scratch: Path, n: int) -> Figures:
    """n steps of a sync workflow."""
    with launched(scratch):
        return {"us_per_call": sequential_sync_root(n) / n * 1e6}


def sequential_async(scratch: Path, n: int) -> Figures:
    """n steps of an async workflow."""
    with launched(scratch):
        return {"us_per_call": asyncio.run(sequential_async_root(n)) / n * 1e6}


def fan_out(scratch: Path, n: int) -> Figures:
    """``asyncio.gather`` over n steps: its fastest way to fan out."""
    with launched(scratch):
        return {"tasks_per_s": n / asyncio.run(fan_out_root(n))}


def nested_async(scratch: Path, m: int) -> Figures:
    """m child workflows of m steps each."""
    with launched(scratch):
        return {"leaves_per_s": m * m / asyncio.run(nested_root(m))}


def cpu_bound(scratch: Path, n: int, turns: int = SPINS) -> Figures:
    """n child workflows on threads of this process."""
    with launched(scratch):
        return efficiency(n, turns, lambda: cpu_bound_root(n, turns))


def hand_over(scratch: Path, mb: int) -> Figures:
    """An array as the result of a step: handed over in memory, pickled into the database."""
    n = mb * 125_000
    with launched(scratch):
        one, eight = hand_over_root(n)
    return hand_over_figures(n, one, eight)


def sleepers(scratch: Path, n: int, seconds: float) -> Figures:
    """n async steps on one loop."""
    with launched(scratch):
        return {"wall_s": asyncio.run(sleepers_root(n, seconds))}


def retries(scratch: Path, n: int) -> Figures:
    """n steps at once of which each fails at its first attempt."""
    (scratch / "calls").mkdir()
    with launched(scratch):
        return {"tasks_per_s": n / asyncio.run(retries_root(n, str(scratch / "calls")))}


def mixed(scratch: Path, n: int, long_s: float) -> Figures:
    """A long child workflow in the midst of n short ones, on threads."""
    with launched(scratch):
        short_s, all_s = mixed_root(n, long_s)
    return {"short_done_s": short_s, "all_done_s": all_s}


def resume(scratch: Path, n: int) -> Figures:
    """Recovery of a workflow of n finished steps."""
    return kill_and_resume("dbos", scratch, n)


def flow(scratch: Path, n: int) -> None:
    """Run the workflow, or let launching recover it."""
    again = (scratch / "dbos.sqlite").exists()
    with launched(scratch):
        if again:
            DBOS.retrieve_workflow("flow").get_result()
        else:
            with SetWorkflowID("flow"):
                asyncio.run(flow_root(str(scratch), n))
