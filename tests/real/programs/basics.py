"""Tasks of every kind, for tests that run them in real workers."""

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import perdure

env = perdure.TaskEnvironment("basics")


class DiskFullError(OSError):
    """A user's own error class."""


@env.task
def add(a: int, b: int) -> int:
    return a + b


@env.task
def pid() -> int:
    return os.getpid()


@env.task
def raise_key_error(key: str) -> int:
    return {"a": 1}[key]


@env.task
def raise_own(code: int) -> int:
    raise DiskFullError(code, "the disk is full", "/data")


@env.task
async def catch_key_error(key: str) -> str:
    try:
        await raise_key_error.aio(key)
    except KeyError as error:
        return f"caught {error.args[0]} because of {type(error.__cause__).__name__}"
    return "nothing"


@env.task
def crash(how: str, mark: Path) -> str:
    if mark.exists():
        return "second attempt"
    mark.write_text(how)
    if how == "exit":
        os._exit(1)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return "first attempt"


@env.task(retries=1)
def crash_with_retry(how: str, mark: Path) -> str:
    return crash.forward(how, mark)


@env.task
async def crash_beside_others(how: str, mark: Path) -> tuple[list[int], str]:
    others = [asyncio.ensure_future(slow_add.aio(i)) for i in range(6)]
    try:
        await crash.aio(how, mark)
        ended = "survived"
    except perdure.errors.WorkerLostError as error:
        ended = str(error)
    return await asyncio.gather(*others), ended


@env.task
def slow_add(i: int) -> int:
    time.sleep(0.05)
    return i


@env.task
def touch(mark: Path, seconds: float = 0.0) -> str:
    with mark.open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return "touched"


@env.task
def sleep_in_a_subprocess(mark: Path) -> int:
    child = subprocess.Popen(["sleep", "300"])
    mark.write_text(str(child.pid))
    return child.wait()


@env.task
def spin_for_ever(mark: Path) -> None:
    """Code that does not even let itself be interrupted."""
    mark.write_text(str(os.getpid()))
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


@env.task
def sleep_long(mark: Path) -> None:
    mark.write_text(str(os.getpid()))
    time.sleep(300)


@env.task
async def hang_with_children(marks: list[Path]) -> None:
    await asyncio.gather(*(spin_for_ever.aio(mark) for mark in marks))


@env.task(timeout=1.0)
def never_yields(mark: Path) -> None:
    spin_for_ever.forward(mark)


@env.task(timeout=perdure.Timeout(deadline=1.5), retries=1_000_000)
def fails_for_ever(mark: Path) -> None:
    touch.forward(mark)
    raise RuntimeError("again")


@env.task
async def first_wins(mark: Path) -> str:
    try:
        async with asyncio.timeout(0.2):
            await spin_async()
    except TimeoutError:
        return "timed out"
    return "finished"


@env.task
async def spin_async() -> None:
    await asyncio.sleep(300)


@env.task
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@env.task
async def recurse(n: int) -> int:
    return 0 if n == 0 else 1 + await recurse(n - 1)


@env.task
def recurse_for_ever(n: int) -> int:
    return recurse_for_ever(n + 1)


@env.task
def sync_parent(n: int) -> int:
    return sum(perdure.map(add, range(n), range(n)))


@env.task
def burn(folder: Path, i: int) -> int:
    """Keep a core busy until the other one is at it, too."""
    (folder / str(i)).touch()
    while not (folder / str(1 - i)).exists():
        pass
    return os.getpid()


@env.task
async def pids_of_burners(folder: Path) -> list[int]:
    return list(await asyncio.gather(*(burn.aio(folder, i) for i in range(2))))


@env.task(retries=3)
def flaky(mark: Path, fails: int) -> int:
    with mark.open("a") as file:
        file.write("x")
    executions = len(mark.read_text())
    if executions <= fails:
        raise ConnectionError(f"failure {executions}")
    return executions


@env.task(retries=perdure.RetryStrategy(count=5, on=(OSError,)))
def retries_only_os_errors(mark: Path) -> None:
    with mark.open("a") as file:
        file.write("x")
    raise ValueError("not an OSError")


@env.task(retries=5)
def gives_up(mark: Path) -> None:
    with mark.open("a") as file:
        file.write("x")
    raise perdure.errors.NonRecoverableError("no use")


@env.task
async def leaves_children_behind(mark: Path) -> str:
    spin_for_ever.submit(mark)
    while not mark.exists():
        await asyncio.sleep(0.01)
    return mark.read_text()


@perdure.trace
def traced(mark: Path, x: int) -> int:
    with mark.open("a") as file:
        file.write("t")
    return x * 2


@perdure.trace
def traced_items(n: int) -> Iterator[int]:
    yield from range(n)


@env.task
async def steps_on_the_loop(mark: Path) -> list[object]:
    calls = [spin_free(i) for i in range(2000)]  # a full outbox must not stand in the way
    first, second = traced(mark, 1), traced(mark, 2)
    now = perdure.durable.now()
    items = list(traced_items(3))
    return [first, second, now.tzinfo is not None, items, sum(await asyncio.gather(*calls))]


@env.task
async def spin_free(i: int) -> int:
    return i


@env.task
def prints(text: str) -> None:
    print(text)
    subprocess.run(["echo", f"{text} from a subprocess"], check=True)
