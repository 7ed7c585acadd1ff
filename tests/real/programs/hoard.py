"""A run that keeps large values, files, checkpoints and artifacts, killed while it stores them.

What is going to be killed is in the folder STORM_FATES, in files such as ``03-worker-17-at``: the
worker that takes it is killed at its 17th step (``within``: when it has begun to write that file).
A step is what changes a file of the home, or a request that stores an object. ``driver`` in its
place kills the process that drives the run, at such a step of the worker that took it.
"""

import _thread
import asyncio
import contextlib
import os
import random
import signal
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import perdure
from perdure._api.checkpoint import Checkpoint
from perdure.errors import RunNotFoundError
from perdure.io import File

WIDTH = 14
POOL = 8
RUNS = ("first", "second")
SAVES = 4
STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.utime"}

env = perdure.TaskEnvironment("hoard")
kept = env.clone_with("kept", cache=perdure.Cache(version="1"))


# --- fates ----------------------------------------------------------------------------------------


class Fate:
    """Counts the steps of this process; at one of them, somebody is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        victim, left, self._when = path.name.split("-")[-3:]
        self._victim = os.getpid() if victim == "worker" else int(os.environ["STORM_DRIVER"])
        self._left = int(left)
        self._home = os.environ["PERDURE_HOME"]

    def look(self, event: str, args: tuple[Any, ...]) -> None:
        if event in STEPS and (isinstance(args[0], int) or self._home in str(args[0])):
            self.step(str(args[0]))

    def step(self, file: str) -> None:
        self._left -= 1
        if self._left:
            return
        self._path.rename(self._path.with_name("struck-" + self._path.name))
        if self._when == "within":
            _thread.start_new_thread(self._strike_within, (file,))
        else:
            os.kill(self._victim, signal.SIGKILL)

    def _strike_within(self, file: str) -> None:
        for _ in range(1_000):
            with contextlib.suppress(OSError):
                if Path(file).stat().st_size:
                    break
        os.kill(self._victim, signal.SIGKILL)


_met: set[int] = set()


def meet_fate() -> None:
    """Note that a task begins; take the next fate that is left, once in each process."""
    fates = Path(os.environ["STORM_FATES"])
    with (fates / "begun").open("a") as begun:
        begun.write(".")
    if os.getpid() in _met:
        return
    _met.add(os.getpid())
    for path in sorted(fates.glob("[0-9]*")):
        with contextlib.suppress(FileNotFoundError):
            fate = Fate(path.rename(path.with_name("taken-" + path.name)))
            sys.addaudithook(fate.look)
            watch_uploads(fate)
            return


def watch_uploads(fate: Fate) -> None:
    """Make a step before and after an object is stored."""
    from perdure._storage.objects import Objects

    write = Objects.write

    def watched(self: Objects, key: str, source: Any) -> None:
        fate.step("")
        write(self, key, source)
        fate.step("")

    Objects.write = watched  # type: ignore[method-assign]


# --- what is kept ---------------------------------------------------------------------------------


def content(number: int) -> bytes:
    """Return a value that is large, sometimes very."""
    size = 3_000_000 if number == 0 else 90_000 + 10_000 * number
    return random.Random(number).randbytes(size)


@kept.task
def make(number: int) -> bytes:
    meet_fate()
    return content(number)


@kept.task
def write(number: int) -> File:
    meet_fate()
    file: File = File.new(f"{number}")
    with file.open_sync("wb") as out:
        for start in range(0, len(content(number)), 70_000):
            out.write(content(number)[start : start + 70_000])
    return file


@env.task
def weigh(value: bytes, file: File, number: int) -> int:
    """Return what both come to, which were made elsewhere."""
    meet_fate()
    with file.open_sync("rb") as opened:
        read = opened.read()
    assert value == read == content(number), "not what was stored"
    return zlib.crc32(read)


def state(number: int, step: int) -> bytes:
    return b"%d %d." % (number, step) * 10_000


def check(folder: Path) -> int:
    """Return up to which step a checkpoint goes, and see whether it is one and whole."""
    saved = Checkpoint(folder, sync=False).load_sync()
    if saved is None:
        return 0
    parts = [saved] if saved.is_file() else sorted(saved.iterdir())
    number, step = map(int, parts[0].read_bytes().partition(b".")[0].split())
    assert len(parts) in (1, 3), "not all that was saved"
    assert {part.read_bytes() for part in parts} == {state(number, step)}, "not what was saved"
    return step


@env.task
def save(number: int, scratch: Path) -> int:
    """Save bytes and trees in turn."""
    meet_fate()
    checkpoint = perdure.ctx().checkpoint
    for step in range(check(checkpoint._folder) + 1, SAVES + 1):
        if step % 2:
            checkpoint.save(state(number, step))
            continue
        tree = scratch / f"{os.getpid()}-{number}-{step}"
        tree.mkdir(exist_ok=True)
        for name in "abc":
            (tree / name).write_bytes(state(number, step))
        checkpoint.save(tree)
    return check(checkpoint._folder)


@env.task
def publish(value: bytes, number: int) -> int:
    meet_fate()
    assert value == content(number), "not what was stored"
    perdure.artifacts.publish(value, name=f"hoard-{number}")
    return 0


@env.task
async def branch(number: int, scratch: Path) -> int:
    kind = number % POOL
    value, file, given = make.submit(kind), write.submit(kind), content(kind + POOL)
    found = await asyncio.gather(
        weigh.aio(value, file, kind), save.aio(number, scratch), publish.aio(given, kind + POOL)
    )
    return sum(found)


@env.task
async def main(scratch: Path) -> int:
    return sum(await asyncio.gather(*(branch(number, scratch) for number in range(WIDTH))))


def expected() -> int:
    """Return the result, in plain Python."""
    return sum(zlib.crc32(content(number % POOL)) + SAVES for number in range(WIDTH))


def drive() -> Iterator[int]:
    """Run twice: the second run finds half of what the first one kept."""
    from perdure.client.clearing import clear_cache

    for name in RUNS:
        yield result(name)
        clear_cache("kept.make" if name == RUNS[0] else None)


def result(name: str) -> int:
    """Run, or go on; a run that has ended long ago may be collected while it is looked at."""
    while True:
        run = perdure.with_runcontext(name=name).run(main, Path(sys.argv[1]))
        with contextlib.suppress(RunNotFoundError):
            return run.result()


if __name__ == "__main__":
    os.environ["STORM_DRIVER"] = str(os.getpid())
    print(*drive())
