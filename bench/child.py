"""What workloads share, whoever runs them: fixed work, honest memory, references taken just then.

Everything here must stay light: it is imported into the process that is measured.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

HERE = Path(__file__).resolve().parent

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

SPINS = 530_000
"""Turns of :func:`spin`: about 50 ms on the machine that the figures of record come from."""


def spin(turns: int = SPINS) -> int:
    """Keep a core busy with a fixed amount of pure Python work."""
    total = 0
    for i in range(turns):
        total += i * i % 7
    return total


def plain_processes(n: int, turns: int) -> float:
    """Return the seconds per spin when plain processes, one per core, do about n spins.

    This is what CPU-bound tasks are held against: the same work on the same cores, with nobody who
    hands it out.
    """
    each = max(1, n // CORES)
    code = (
        "import sys, time; from child import spin; each, turns = map(int, sys.argv[1:])\n"
        "spin(turns); sys.stdin.read(); start = time.perf_counter()\n"
        "for _ in range(each): spin(turns)\n"
        "print(time.perf_counter() - start)"
    )
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(each), str(turns)],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(CORES)
    ]
    time.sleep(0.2)  # until all are up
    for one in crowd:
        assert one.stdin
        one.stdin.close()
        one.stdin = None
    # The rates add up, as if whoever is done first took over from the others: else a disturbed
    # core would make the reference worse than a pool that shares the work out.
    return 1 / sum(each / float(one.communicate()[0]) for one in crowd)


def efficiency(n: int, turns: int, work: Callable[[], float]) -> Figures:
    """Hold ``work`` against plain processes that do the same just before and just after it.

    Args:
        n: Spins that ``work`` does.
        turns: Turns of each.
        work: Does them and returns the seconds it took.
    """
    before = plain_processes(n // 3, turns)
    seconds = work()
    ideal = n * (before + plain_processes(n // 3, turns)) / 2
    return {"efficiency": ideal / seconds, "wall_s": seconds, "ideal_s": ideal}


def hand_over_figures(n: int, one_s: float, eight_s: float) -> Figures:
    """Hold the cost of 8 sums of an array of n numbers in tasks against 8 sums in place, just now.

    An eighth of the array is summed eight times as often: it is still far larger than any cache,
    and the reference does not raise the peak of the memory that is measured.
    """
    import numpy as np

    peak, part = peak_mb(), np.ones(max(1, n // 8))
    start = time.perf_counter()
    for _ in range(64):
        part.sum()
    in_place = time.perf_counter() - start
    return {
        "hand_over_s": one_s,
        "eight_s": eight_s,
        "in_place_s": in_place,
        "eight_to_in_place": eight_s / in_place,
        "driver_peak_mb": peak,
    }


def fail_once(folder: str, item: int) -> int:
    """Fail when called for the first time with ``item``; then return the number of calls.

    The calls are counted in a file, as no two systems number attempts alike.
    """
    with Path(folder, str(item)).open("ab") as calls:
        calls.write(b".")
        calls.flush()
        count = os.fstat(calls.fileno()).st_size
    if count == 1:
        raise OSError(f"item {item} fails once")
    return count


def rest(seconds: float) -> float:
    """Sleep, or not at all: a task that waits for something, or a short one."""
    if seconds:
        time.sleep(seconds)
    return seconds


def peak_mb() -> float:
    """Return the peak resident memory of this process.

    Not from ``getrusage`` where it can be helped: there a process inherits the peak of whoever
    started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024)  # macOS: bytes


def private_mb() -> float | None:
    """Return the memory of this process that it shares with no file and no other process."""
    rollup = Path("/proc/self/smaps_rollup")
    if not rollup.exists():
        return None
    lines = rollup.read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Anonymous")).split()[1]) / 1024
