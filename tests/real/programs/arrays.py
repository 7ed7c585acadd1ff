"""Tasks that hand large arrays over, and tell what that does to their memory."""

import mmap
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

import perdure

env = perdure.TaskEnvironment("arrays")


def memory(kind: str) -> int:
    """Return so many bytes of this process: ``Rss``, or ``Anonymous``, those it shares with none.

    What was read in place counts as ``Rss`` only, what was copied as both.
    """
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) << 10
    raise LookupError(kind)


def grown(kind: str, what: Callable[[], object]) -> int:
    """Return by how many bytes memory grows while something is done, its result being kept."""
    before = memory(kind)
    result = what()
    after = memory(kind)
    del result
    return after - before


@env.task
def make(size: int) -> np.ndarray:
    """Return an array of ``size`` bytes."""
    return np.arange(size // 8)


@env.task
def read(array: np.ndarray, reader: int = 0) -> dict[str, int]:
    """Read all of an array; tell by how much that made this process grow."""
    assert isinstance(array.base, mmap.mmap)
    return {kind: grown(kind, array.sum) for kind in ("Anonymous", "Rss")}


@env.task
def echo(array: np.ndarray) -> np.ndarray:
    """Return what was given."""
    return array


@env.task
def pass_futures(size: int) -> int:
    """Pass an array on that is not there yet; tell by how much this process grows."""

    def calls() -> None:
        array = make.submit(size)
        perdure.gather(*[read.submit(echo.submit(array), i) for i in range(2)])

    return grown("Rss", calls)


@env.task
def fan_out(size: int) -> int:
    """Hand an array to 8 tasks; tell by how much the one that grows most does."""
    array = make.submit(size)
    readers = perdure.gather(*[read.submit(array, i) for i in range(8)])
    return max(growth["Anonymous"] for growth in readers)


@env.task
def pass_values(size: int) -> int:
    """Pass an array on that was taken in hand; tell by how much this process grows."""

    def calls() -> np.ndarray:
        array = make(size)
        perdure.gather(*[read.submit(array, i) for i in range(2)])
        return array

    return grown("Rss", calls)


@env.task
def hand_over(size: int) -> dict[str, int]:
    """Make an array in one task and read it in another."""
    return read(make(size))


@env.task
def refuse_syncs() -> bytes:
    """Return a large value from a process that cannot sync files."""

    def refuse(descriptor: int) -> None:
        raise OSError("no syncs here")

    os.fsync = refuse
    return bytes(100_000)
