"""``ProcessPoolExecutor`` with one process per core: what the standard library gives."""

import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from child import CORES, SPINS, Figures, efficiency, hand_over_figures, rest, spin


def noop(i: int) -> int:
    return i


def pool() -> ProcessPoolExecutor:
    """Return a pool whose processes are up."""
    executor = ProcessPoolExecutor(CORES)
    list(executor.map(noop, range(8)))
    return executor


def sequential_sync(_: Path, n: int) -> Figures:
    """n calls of a no-op, one after the other."""
    with pool() as executor:
        start = time.perf_counter()
        for i in range(n):
            executor.submit(noop, i).result()
        return {"us_per_call": (time.perf_counter() - start) / n * 1e6}


def fan_out(_: Path, n: int) -> Figures:
    """n submits, then n results."""
    with pool() as executor:
        start = time.perf_counter()
        futures = [executor.submit(noop, i) for i in range(n)]
        total = sum(future.result() for future in futures)
        seconds = time.perf_counter() - start
    assert total == n * (n - 1) // 2
    return {"tasks_per_s": n / seconds}


def map_(_: Path, n: int) -> Figures:
    """``map`` with one item per call, as the items may be long."""
    with pool() as executor:
        start = time.perf_counter()
        total = sum(executor.map(noop, range(n)))
        seconds = time.perf_counter() - start
    assert total == n * (n - 1) // 2
    return {"tasks_per_s": n / seconds}


def cpu_bound(_: Path, n: int, turns: int = SPINS) -> Figures:
    """n tasks that keep a core busy."""
    with pool() as executor:

        def work() -> float:
            start = time.perf_counter()
            for future in [executor.submit(spin, turns) for _ in range(n)]:
                future.result()
            return time.perf_counter() - start

        return efficiency(n, turns, work)


def hand_over(_: Path, mb: int) -> Figures:
    """An array through the pipes: to the caller and on to the next process."""
    import numpy as np

    n = mb * 125_000
    with ProcessPoolExecutor(1) as makers, pool() as users:
        makers.submit(noop, 1).result()
        start = time.perf_counter()
        array = makers.submit(np.ones, n).result()
        assert users.submit(np.sum, array).result() == n
        first = time.perf_counter()
        futures = [users.submit(np.sum, array) for _ in range(8)]
        assert sum(future.result() for future in futures) == 8 * n
        return hand_over_figures(n, first - start, time.perf_counter() - first)


def mixed(_: Path, n: int, long_s: float) -> Figures:
    """A long task in the midst of n short ones."""
    with pool() as executor:
        start = time.perf_counter()
        short = [executor.submit(rest, 0.0) for _ in range(n // 2)]
        long = executor.submit(rest, long_s)
        short += [executor.submit(rest, 0.0) for _ in range(n // 2)]
        for future in short:
            future.result()
        short_s = time.perf_counter() - start
        long.result()
        return {"short_done_s": short_s, "all_done_s": time.perf_counter() - start}
