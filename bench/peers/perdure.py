"""Perdure: durable; tasks run in worker processes, the root task too."""

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import perdure
from child import (
    SPINS,
    Figures,
    efficiency,
    fail_once,
    hand_over_figures,
    peak_mb,
    rest,
    spin,
)
from history import arrive, kill_and_resume, run_and_kill
from history import resume as resume_flow

env = perdure.TaskEnvironment("bench")


# --- tasks ----------------------------------------------------------------------------------------


@env.task
async def noop_async(i: int) -> int:
    return i


@env.task
def noop(i: int) -> int:
    return i


@env.task
def busy(turns: int) -> int:
    return spin(turns)


@env.task(retries=1)
def flaky(folder: str, item: int) -> int:
    return fail_once(folder, item)


@env.task
def resting(seconds: float) -> float:
    return rest(seconds)


@env.task
async def branch_async(first: int, m: int) -> int:
    return sum(await asyncio.gather(*(noop_async(i) for i in range(first, first + m))))


@env.task
def branch_sync(first: int, m: int) -> int:
    return sum(perdure.map(noop, range(first, first + m)))


# --- root tasks: each times itself inside a worker ------------------------------------------------


@env.task
async def fan_out_root(n: int) -> Figures:
    start = time.perf_counter()
    values = await asyncio.gather(*(noop_async(i) for i in range(n)))
    seconds = time.perf_counter() - start
    assert sum(values) == n * (n - 1) // 2
    return {"tasks_per_s": n / seconds, "parent_peak_mb": peak_mb()}


@env.task
async def fan_out_sync_root(n: int) -> Figures:
    start = time.perf_counter()
    values = await asyncio.gather(*(noop.aio(i) for i in range(n)))
    seconds = time.perf_counter() - start
    assert sum(values) == n * (n - 1) // 2
    return {"tasks_per_s": n / seconds, "parent_peak_mb": peak_mb()}


@env.task
def map_root(n: int) -> Figures:
    before = peak_mb()
    start = time.perf_counter()
    total = sum(perdure.map(noop, range(n)))
    seconds = time.perf_counter() - start
    assert total == n * (n - 1) // 2
    return {"tasks_per_s": n / seconds, "parent_growth_mb": peak_mb() - before}


@env.task
async def sequential_async_root(n: int) -> Figures:
    await noop_async(-1)
    start = time.perf_counter()
    for i in range(n):
        await noop_async(i)
    return {"us_per_call": (time.perf_counter() - start) / n * 1e6}


@env.task
def sequential_sync_root(n: int) -> Figures:
    noop(-1)
    start = time.perf_counter()
    for i in range(n):
        noop(i)
    return {"us_per_call": (time.perf_counter() - start) / n * 1e6}


@env.task
async def nested_async_root(m: int) -> Figures:
    start = time.perf_counter()
    total = sum(await asyncio.gather(*(branch_async(b * m, m) for b in range(m))))
    seconds = time.perf_counter() - start
    assert total == m * m * (m * m - 1) // 2
    return {"leaves_per_s": m * m / seconds}


@env.task
def nested_sync_root(m: int) -> Figures:
    start = time.perf_counter()
    total = sum(perdure.map(branch_sync, range(0, m * m, m), [m] * m))
    seconds = time.perf_counter() - start
    assert total == m * m * (m * m - 1) // 2
    return {"leaves_per_s": m * m / seconds}


@env.task
async def cpu_bound_root(n: int, turns: int) -> float:
    await asyncio.gather(*(busy.aio(1) for _ in range(8)))
    start = time.perf_counter()
    await asyncio.gather(*(busy.aio(turns) for _ in range(n)))
    return time.perf_counter() - start


@env.task
async def retries_root(n: int, folder: str) -> Figures:
    await asyncio.gather(*(busy.aio(1) for _ in range(8)))
    start = time.perf_counter()
    calls = await asyncio.gather(*(flaky.aio(folder, i) for i in range(n)))
    assert sum(calls) == 2 * n
    return {"tasks_per_s": n / (time.perf_counter() - start)}


@env.task
async def mixed_root(n: int, long_s: float) -> Figures:
    await asyncio.gather(*(busy.aio(1) for _ in range(8)))
    start = time.perf_counter()
    half = [resting.submit(0.0) for _ in range(n // 2)]
    long = resting.submit(long_s)
    await asyncio.gather(*half, *(resting.submit(0.0) for _ in range(n // 2)))
    short_s = time.perf_counter() - start
    await long
    return {"short_done_s": short_s, "all_done_s": time.perf_counter() - start}


# --- workloads ------------------------------------------------------------------------------------


def measured(scratch: Path, root: Any, **arguments: Any) -> Figures:
    """Run a root task; add what it cost this process, and the journal."""
    before = peak_mb()
    figures: Figures = perdure.run(root, **arguments).result()
    figures["controller_growth_mb"] = peak_mb() - before
    figures["journal_mb"] = journal_bytes(scratch) / 1e6
    return figures


def journal_bytes(scratch: Path) -> int:
    """Return what the journal takes on disk once the runtime has been shut down."""
    from perdure import _embedded

    _embedded.runtime().shutdown()
    return sum(path.stat().st_size for path in (scratch / "perdure").glob("journal.db*"))


def fan_out(scratch: Path, n: int) -> Figures:
    """``asyncio.gather`` over n no-op async tasks."""
    figures = measured(scratch, fan_out_root, n=n)
    return figures | {"journal_bytes_per_action": figures["journal_mb"] * 1e6 / n}


def fan_out_sync(scratch: Path, n: int) -> Figures:
    """``asyncio.gather`` over n no-op sync tasks."""
    return measured(scratch, fan_out_sync_root, n=n)


def map_(scratch: Path, n: int) -> Figures:
    """``perdure.map`` over n no-op sync tasks from a sync parent, in flat memory."""
    figures = measured(scratch, map_root, n=n)
    return figures | {"journal_bytes_per_action": figures["journal_mb"] * 1e6 / n}


def sequential_async(scratch: Path, n: int) -> Figures:
    """n calls of a no-op, one after the other, from an async parent."""
    return measured(scratch, sequential_async_root, n=n)


def sequential_sync(scratch: Path, n: int) -> Figures:
    """n calls of a no-op, one after the other, from a sync parent."""
    return measured(scratch, sequential_sync_root, n=n)


def nested_async(scratch: Path, m: int) -> Figures:
    """m async parents of m async leaves each."""
    return measured(scratch, nested_async_root, m=m)


def nested_sync(scratch: Path, m: int) -> Figures:
    """m sync parents of m sync leaves each."""
    return measured(scratch, nested_sync_root, m=m)


def cpu_bound(_: Path, n: int, turns: int = SPINS) -> Figures:
    """n tasks that keep a core busy, on all cores."""
    return efficiency(n, turns, lambda: perdure.run(cpu_bound_root, n=n, turns=turns).result())


def retries(scratch: Path, n: int) -> Figures:
    """n tasks at once of which each fails at its first attempt."""
    (scratch / "calls").mkdir()
    return measured(scratch, retries_root, n=n, folder=str(scratch / "calls"))


def mixed(scratch: Path, n: int, long_s: float) -> Figures:
    """A long task in the midst of n short ones."""
    return measured(scratch, mixed_root, n=n, long_s=long_s)


def hand_over(scratch: Path, mb: int) -> Figures:
    """An array from one task to the next, which maps it; then to 8 tasks."""
    from peers import perdure_arrays  # numpy would weigh on the other workloads

    n = mb * 125_000
    figures = measured(scratch, perdure_arrays.root, n=n)
    return figures | hand_over_figures(n, figures.pop("one_s"), figures.pop("eight_s"))


def sleepers(scratch: Path, n: int, seconds: float) -> Figures:
    """n async tasks in one worker."""
    from peers import perdure_sleepers

    return measured(scratch, perdure_sleepers.root, n=n, seconds=seconds)


# --- a history: killed, resumed, looked at --------------------------------------------------------


@env.task
def late(folder: str) -> int:
    return arrive(Path(folder))


@env.task
async def flow_root(folder: str, n: int) -> int:
    await asyncio.gather(*(noop_async(i) for i in range(n)))
    return await late.aio(folder)


@env.task
def long_flow_root(folder: str, n: int) -> int:
    list(perdure.map(noop, range(-8, 0)))
    start = time.perf_counter()
    for _ in perdure.map(noop, range(n)):
        pass
    Path(folder, "seconds").write_text(repr(time.perf_counter() - start))
    return late(folder)


def resume(scratch: Path, n: int) -> Figures:
    """Resume of a run with n finished children."""
    return kill_and_resume("perdure", scratch, n)


def flow(scratch: Path, n: int) -> None:
    """Run it, or go on with it: the name is the run."""
    root = long_flow_root if (scratch / "long").exists() else flow_root
    perdure.with_runcontext(name=f"flow-{n}").run(root, folder=str(scratch), n=n).result()


def resume_few(scratch: Path, n: int) -> float:
    """Return what it takes to get going at all: the resume of a run that has done nothing much."""
    scratch.mkdir()
    (scratch / "long").touch()
    return float(kill_and_resume("perdure", scratch, n)["resume_s"])


def growth(scratch: Path, n: int) -> Figures:
    """A run of n actions of a flat parent: what it takes, then ``ls``, ``show`` and resume."""
    start_s = statistics.median(resume_few(scratch / f"few-{each}", each) for each in (2, 3, 4))
    (scratch / "long").touch()
    run_and_kill("perdure", scratch, n)
    seconds = float((scratch / "seconds").read_text())
    size = sum(path.stat().st_size for path in (scratch / "perdure").glob("journal.db*"))
    figures = {
        "us_per_task": seconds / n * 1e6,
        "ls_s": command_s("ls"),
        "show_s": command_s("show", f"flow-{n}"),
        "resume_s": resume_flow("perdure", scratch, n),
        "journal_bytes_per_action": size / n,
    }
    # Without the start, which would hide what a task costs.
    return figures | {"resume_us_per_task": (figures["resume_s"] - start_s) / n * 1e6}


def command_s(*arguments: str) -> float:
    """Return the seconds that a command takes, its start included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "perdure", *arguments], check=True, capture_output=True)
    return time.perf_counter() - start
