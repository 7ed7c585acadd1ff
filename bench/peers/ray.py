"""Ray on one node, without dashboard; parents are the driver, as most scripts have it."""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Without these, ray.init() writes a token into the home that later clusters ask for.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import ray

from child import CORES, SPINS, Figures, efficiency, fail_once, hand_over_figures, rest, spin

STORE = 4 << 30


@ray.remote
def noop(i: int) -> int:
    return i


@ray.remote
def busy(turns: int) -> int:
    return spin(turns)


@ray.remote
def branch(first: int, m: int) -> int:
    return sum(ray.get([noop.remote(i) for i in range(first, first + m)]))


@ray.remote
def make(n: int) -> np.ndarray:
    return np.ones(n)


@ray.remote
def total(array: np.ndarray) -> float:
    return float(array.sum())


@ray.remote(max_retries=1, retry_exceptions=True)
def flaky(folder: str, item: int) -> int:
    return fail_once(folder, item)


@ray.remote
def resting(seconds: float) -> float:
    return rest(seconds)


class Sleeper:
    """An actor of ``async def`` methods: Ray's way to many waiting calls in one process."""

    async def nap(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds


@contextmanager
def cluster(scratch: Path) -> Iterator[None]:
    """A cluster whose workers are up."""
    room = Path("/dev/shm").exists() and shutil.disk_usage("/dev/shm").free > 1.5 * STORE
    ray.init(
        num_cpus=CORES,
        include_dashboard=False,
        object_store_memory=STORE if room else None,
        _temp_dir=str(scratch),
        logging_level="ERROR",
        log_to_driver=False,
    )
    ray.get([noop.remote(i) for i in range(20)])
    try:
        yield
    finally:
        ray.shutdown()


def sequential_sync(scratch: Path, n: int) -> Figures:
    """n calls of a no-op, one after the other."""
    with cluster(scratch):
        start = time.perf_counter()
        for i in range(n):
            ray.get(noop.remote(i))
        return {"us_per_call": (time.perf_counter() - start) / n * 1e6}


def fan_out(scratch: Path, n: int) -> Figures:
    """n remote calls, one ``get``."""
    with cluster(scratch):
        start = time.perf_counter()
        values = ray.get([noop.remote(i) for i in range(n)])
        seconds = time.perf_counter() - start
    assert sum(values) == n * (n - 1) // 2
    return {"tasks_per_s": n / seconds}


def nested_sync(scratch: Path, m: int) -> Figures:
    """m parents of m leaves; a parent that waits gives its core back, so more workers start."""
    with cluster(scratch):
        start = time.perf_counter()
        values = ray.get([branch.remote(b * m, m) for b in range(m)])
        seconds = time.perf_counter() - start
    assert sum(values) == m * m * (m * m - 1) // 2
    return {"leaves_per_s": m * m / seconds}


def cpu_bound(scratch: Path, n: int, turns: int = SPINS) -> Figures:
    """n tasks that keep a core busy."""

    def work() -> float:
        start = time.perf_counter()
        ray.get([busy.remote(turns) for _ in range(n)])
        return time.perf_counter() - start

    with cluster(scratch):
        return efficiency(n, turns, work)


def hand_over(scratch: Path, mb: int) -> Figures:
    """An array through the shared-memory object store."""
    n = mb * 125_000
    with cluster(scratch):
        ray.get([total.remote(np.ones(10)) for _ in range(8)])
        start = time.perf_counter()
        array = make.remote(n)
        assert ray.get(total.remote(array)) == n
        first = time.perf_counter()
        assert sum(ray.get([total.remote(array) for _ in range(8)])) == 8 * n
        second = time.perf_counter()
    return hand_over_figures(n, first - start, second - first)


def sleepers(scratch: Path, n: int, seconds: float) -> Figures:
    """n calls of one async actor."""
    with cluster(scratch):
        actor = ray.remote(Sleeper).options(max_concurrency=n).remote()
        ray.get(actor.nap.remote(0.0))
        start = time.perf_counter()
        ray.get([actor.nap.remote(seconds) for _ in range(n)])
        return {"wall_s": time.perf_counter() - start}


def retries(scratch: Path, n: int) -> Figures:
    """n tasks at once of which each fails at its first attempt."""
    with cluster(scratch):
        (scratch / "calls").mkdir()
        start = time.perf_counter()
        calls = ray.get([flaky.remote(str(scratch / "calls"), i) for i in range(n)])
        seconds = time.perf_counter() - start
    assert sum(calls) == 2 * n
    return {"tasks_per_s": n / seconds}


def mixed(scratch: Path, n: int, long_s: float) -> Figures:
    """A long task in the midst of n short ones."""
    with cluster(scratch):
        start = time.perf_counter()
        short = [resting.remote(0.0) for _ in range(n // 2)]
        long = resting.remote(long_s)
        short += [resting.remote(0.0) for _ in range(n // 2)]
        ray.get(short)
        short_s = time.perf_counter() - start
        ray.get(long)
        return {"short_done_s": short_s, "all_done_s": time.perf_counter() - start}
