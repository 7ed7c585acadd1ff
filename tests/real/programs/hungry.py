"""Tasks that take memory."""

import subprocess
import sys
import time
from pathlib import Path

import perdure

MIB = 1 << 20
env = perdure.TaskEnvironment("hungry", resources=perdure.Resources(cpu=0.1, memory="96Mi"))
together = perdure.TaskEnvironment(
    "together",
    resources=perdure.Resources(cpu=0.1, memory="96Mi"),
    reusable=perdure.ReusePolicy(replicas=1, concurrency=4),
)
# In a process that has executed others, what is too much may have been left behind by them: then
# an attempt is not charged, and there is one more.
alone = perdure.TaskEnvironment(
    "alone", resources=perdure.Resources(cpu=0.1, memory="96Mi"), reusable="isolated"
)


def use(size: int) -> bytearray:
    """Return memory that has been touched."""
    held = bytearray(size)
    held[::4096] = b"x" * len(held[::4096])
    return held


@env.task
def take(size: int, mark: Path) -> str:
    """Use so much; if that is much, for as long as one is let."""
    with mark.open("a") as file:
        file.write("x")
    held = use(size)
    return until_gone(mark) if len(held) > 64 * MIB else "modest"


def until_gone(mark: Path) -> str:
    """Return when somebody has removed the file."""
    while mark.exists():
        time.sleep(0.01)
    return "let be"


@env.task
def sibling(mark: Path) -> str:
    return until_gone(mark)


@env.task
def beside(mark: Path) -> tuple[str, str]:
    """Call one that takes too much beside one that does not."""
    quiet = sibling.submit(mark)
    try:
        take(300 * MIB, mark)
    except MemoryError as error:
        told = f"{error.request // MIB} {error.peak > error.request}"
    mark.unlink()
    return told, quiet.result()


@alone.task(retries=perdure.RetryStrategy(on_oom=perdure.Resources(memory="+400Mi")))
def grow(mark: Path) -> int:
    """Take more than there is at first, and be glad of it then."""
    with mark.open("a") as file:
        file.write("x")
    held = use(200 * MIB)
    if mark.read_text() == "x":
        until_gone(mark)
    return len(held) // MIB


@together.task
async def one_of_many(greedy: bool, mark: Path) -> str:
    with mark.open("a") as file:
        file.write("x")
    held = use(300 * MIB if greedy else 1)
    while len(held) > 1 and mark.exists():
        time.sleep(0.01)
    return "through"


@env.task
async def many(mark: Path) -> list[str]:
    import asyncio

    calls = [one_of_many.override(short_name=f"t{i}")(i == 1, mark) for i in range(4)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [r if isinstance(r, str) else type(r).__name__ for r in results]


@env.task
def started(mark: Path) -> None:
    """Let another process use it."""
    code = f"import time; x = bytearray(b'x') * {300 * MIB}; time.sleep(600)"
    subprocess.run([sys.executable, "-c", code], check=True)


@env.task
def threads() -> list[str | None]:
    """Return what libraries would be told, with one core and with two."""
    from os import environ

    return [environ.get("OMP_NUM_THREADS"), *more_threads()]


@env.task(resources=perdure.Resources(cpu=1.5))
def more_threads() -> list[str | None]:
    from os import environ

    return [environ.get("OMP_NUM_THREADS")]
