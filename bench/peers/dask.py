"""Dask distributed: a local cluster of single-threaded worker processes, without dashboard.

``pure=False`` everywhere: equal calls would otherwise be made once.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from distributed import Client, LocalCluster, worker_client

from child import CORES, SPINS, Figures, efficiency, fail_once, hand_over_figures, rest, spin


def noop(i: int) -> int:
    return i


def busy(i: int, turns: int) -> int:
    return spin(turns)


def branch(first: int, m: int) -> int:
    with worker_client() as client:  # leaves its slot to others while it waits
        return sum(client.gather(client.map(noop, range(first, first + m), pure=False)))


def total(array: np.ndarray, i: int) -> float:
    return float(array.sum())


async def nap(i: int, seconds: float) -> int:
    import asyncio

    await asyncio.sleep(seconds)
    return i


@contextmanager
def cluster(workers: int = CORES, threads: int = 1) -> Iterator[Client]:
    """A cluster whose workers are up."""
    local = LocalCluster(
        n_workers=workers,
        threads_per_worker=threads,
        processes=True,
        dashboard_address=None,
        memory_limit=0,
        silence_logs=50,
    )
    with Client(local) as client:
        client.gather(client.map(noop, range(20), pure=False))
        yield client
        client.shutdown()


def sequential_sync(_: Path, n: int) -> Figures:
    """n calls of a no-op, one after the other."""
    with cluster() as client:
        start = time.perf_counter()
        for i in range(n):
            client.submit(noop, i, pure=False).result()
        return {"us_per_call": (time.perf_counter() - start) / n * 1e6}


def fan_out(_: Path, n: int) -> Figures:
    """``map`` and ``gather``."""
    with cluster() as client:
        start = time.perf_counter()
        values = client.gather(client.map(noop, range(n), pure=False))
        seconds = time.perf_counter() - start
        assert sum(values) == n * (n - 1) // 2
        return {"tasks_per_s": n / seconds}


def nested_sync(_: Path, m: int) -> Figures:
    """m parents of m leaves each."""
    with cluster() as client:
        start = time.perf_counter()
        parents = client.map(branch, range(0, m * m, m), m=m, pure=False)
        assert sum(client.gather(parents)) == m * m * (m * m - 1) // 2
        return {"leaves_per_s": m * m / (time.perf_counter() - start)}


def cpu_bound(_: Path, n: int, turns: int = SPINS) -> Figures:
    """n tasks that keep a core busy."""
    with cluster() as client:

        def work() -> float:
            start = time.perf_counter()
            client.gather(client.map(busy, range(n), turns=turns, pure=False))
            return time.perf_counter() - start

        return efficiency(n, turns, work)


def hand_over(_: Path, mb: int) -> Figures:
    """An array from one worker to the other, then to 8 tasks on both."""
    n = mb * 125_000
    with cluster(2) as client:
        maker, user = client.scheduler_info()["workers"]
        for worker in (maker, user):
            client.submit(total, np.ones(10), 0, workers=[worker], pure=False).result()
        start = time.perf_counter()
        array = client.submit(np.ones, n, workers=[maker], pure=False)
        assert client.submit(total, array, 0, workers=[user], pure=False).result() == n
        first = time.perf_counter()
        sums = client.map(lambda i, array: total(array, i), range(8), array=array, pure=False)
        assert sum(client.gather(sums)) == 8 * n
        return hand_over_figures(n, first - start, time.perf_counter() - first)


def sleepers(_: Path, n: int, seconds: float) -> Figures:
    """n coroutine tasks in one worker that admits n at a time."""
    with cluster(workers=1, threads=n) as client:
        start = time.perf_counter()
        client.gather(client.map(nap, range(n), seconds=seconds, pure=False))
        return {"wall_s": time.perf_counter() - start}


def retries(scratch: Path, n: int) -> Figures:
    """n tasks at once of which each fails at its first attempt."""
    (scratch / "calls").mkdir()
    with cluster() as client:
        start = time.perf_counter()
        folders = [str(scratch / "calls")] * n
        calls = client.gather(client.map(fail_once, folders, range(n), retries=1, pure=False))
        assert sum(calls) == 2 * n
        return {"tasks_per_s": n / (time.perf_counter() - start)}


def mixed(_: Path, n: int, long_s: float) -> Figures:
    """A long task in the midst of n short ones."""
    with cluster() as client:
        start = time.perf_counter()
        short = client.map(rest, [0.0] * (n // 2), pure=False)
        long = client.submit(rest, long_s, pure=False)
        short += client.map(rest, [0.0] * (n // 2), pure=False)
        client.gather(short)
        short_s = time.perf_counter() - start
        long.result()
        return {"short_done_s": short_s, "all_done_s": time.perf_counter() - start}
