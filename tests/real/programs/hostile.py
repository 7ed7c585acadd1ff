"""Tasks that do everything a task should not, each to end in a clear error or in no harm."""

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import perdure

env = perdure.TaskEnvironment("hostile")


# --- errors of an odd make ------------------------------------------------------------------------


class NeedsTwoError(Exception):
    """Pickles by default into a call that lacks an argument."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words for it")

    __repr__ = __str__


class UnreducibleError(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("not to be reduced")


class LoadedError(Exception):
    """Carries something that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class RefusesToBeRebuiltError(Exception):
    def __init__(self, text: str) -> None:
        if text != "the first time":
            raise RuntimeError("never again")
        super().__init__("something else")


class HugeError(Exception):
    pass


class ChainedError(Exception):
    """Is its own cause."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.__cause__ = self


def local_error() -> Exception:
    class LocalError(Exception):
        pass

    return LocalError("made in a function")


MAKERS: dict[str, Callable[[], BaseException]] = {
    "needs_two": lambda: NeedsTwoError("one", "two"),
    "mute": lambda: MuteError("quiet"),
    "unreducible": lambda: UnreducibleError("kept as it is"),
    "loaded": lambda: LoadedError("with a lock"),
    "once": lambda: RefusesToBeRebuiltError("the first time"),
    "huge": lambda: HugeError("x" * 3_000_000),
    "group": lambda: ExceptionGroup("several", [ValueError("a"), LoadedError("b")]),
    "local": local_error,
    "chained": lambda: ChainedError("for ever"),
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "generator_exit": GeneratorExit,
    "cancelled": asyncio.CancelledError,
}


def make(kind: str) -> BaseException:
    return MAKERS[kind]()


@env.task
def throw(kind: str) -> int:
    raise make(kind)


@env.task
async def throw_async(kind: str) -> int:
    raise make(kind)


@env.task
def catch(kind: str) -> str:
    """A child's odd failure is caught like any other."""
    try:
        throw(kind)
    except BaseException as error:
        return type(error).__name__
    return "nothing"


# --- values that cannot travel --------------------------------------------------------------------


@env.task
def returns_lock() -> Any:
    return {"inner": [threading.Lock()]}


@env.task
def returns_generator() -> Any:
    return (i for i in range(3))


@env.task
def returns_coroutine() -> Any:
    async def nothing() -> None: ...

    return nothing()


@env.task
def returns_text() -> int:
    return "text"  # type: ignore[return-value]


@env.task
def returns_cycle() -> Any:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


@env.task
def returns_deep(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@env.task
def passes_lock() -> int:
    return identity(threading.Lock())  # type: ignore[no-any-return]


@env.task
def identity(value: Any) -> Any:
    return value


@env.task
def is_nan(value: float) -> bool:
    return math.isnan(value)


@env.task
def twice(x: int) -> int:
    return 2 * x


# --- calls ----------------------------------------------------------------------------------------


@env.task
async def blocks_the_loop() -> int:
    return twice(1)


@env.task
def runs_inside() -> int:
    return perdure.run(twice, 1).result()  # type: ignore[no-any-return]


@env.task
def calls_wrongly(how: str) -> int:
    if how == "type":
        return twice("one")  # type: ignore[arg-type]
    if how == "unknown":
        return twice(1, y=2)  # type: ignore[call-arg]
    return twice()  # type: ignore[call-arg]


@env.task
def leaves_a_thread_that_waits(gate: Path, mark: Path) -> int:
    """The call is still open when the thread's action, and with it the run, has ended."""
    future = hold.submit(gate)

    def wait() -> None:
        try:
            future.result()
        except BaseException as error:
            mark.write_text(f"{type(error).__name__}: {error}")

    threading.Thread(target=wait, daemon=True).start()
    return 1


@env.task
def recurses_in_python(n: int) -> int:
    return recurses_in_python.forward(n + 1)


@env.task
async def recurses(n: int) -> int:
    return await recurses(n + 1)


@env.task(resources=perdure.Resources(cpu=100_000))
def needs_a_cluster() -> int:
    return 1


@env.task
def calls_infeasible() -> str:
    try:
        needs_a_cluster()
    except perdure.errors.InfeasibleError as error:
        return str(error)
    return ""


# --- bad neighbours -------------------------------------------------------------------------------


@env.task
def closes_stdout() -> str:
    print("before")
    sys.stdout.close()
    return "closed"


@env.task
def closes_descriptors() -> str:
    os.close(1)
    os.close(2)
    return "closed"


@env.task
def replaces_stdout() -> str:
    sys.stdout = None  # type: ignore[assignment]
    sys.stderr = None  # type: ignore[assignment]
    return "replaced"


@env.task
def changes_folder(folder: str) -> str:
    os.chdir(folder)
    return str(Path.cwd())


@env.task
def removes_own_folder(folder: Path) -> str:
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    return "gone"


@env.task
def where() -> str:
    return str(Path.cwd())


@env.task
def leaves_threads() -> int:
    def spin() -> None:
        while True:
            print("still here", flush=True)
            time.sleep(0.01)

    for _ in range(3):
        threading.Thread(target=spin, daemon=True).start()
    return 3


@env.task
def leaves_a_thread_that_holds_on() -> int:
    threading.Thread(target=time.sleep, args=(3600,), daemon=False).start()
    return 1


@env.task
def forks() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return 1


@env.task
def forks_and_returns_twice() -> int:
    """The child, too, comes back from the task."""
    return os.fork()


@env.task
def forks_and_calls() -> int:
    child = os.fork()
    if child == 0:
        twice(21)
        os._exit(0)
    os.waitpid(child, 0)
    return 1


@env.task
def leaves_a_process() -> int:
    child = os.fork()
    if child == 0:
        time.sleep(3600)
        os._exit(0)
    return child


@env.task
def exits_at_once(code: int) -> int:
    os._exit(code)


@env.task
async def exits_at_once_async(code: int) -> int:
    os._exit(code)


@env.task
def prints_bytes() -> int:
    os.write(1, b"\xff\xfe\x00 not text\n")
    print("\udcff surrogate")
    return 1


@env.task
async def stops_the_loop() -> int:
    asyncio.get_running_loop().stop()
    return 1


# --- two of one name, odd names -------------------------------------------------------------------

odd = perdure.TaskEnvironment("odd/../name with 'quotes' and ünïcode\n%s")


@odd.task
def named_oddly(x: int) -> int:
    return x + 1


def not_a_task(x: int) -> int:
    return x


def items() -> Iterator[int]:
    yield 1


# --- storage --------------------------------------------------------------------------------------


@env.task
def total(n: int = 3) -> int:
    return sum(perdure.map(twice, range(n)))


@env.task
def random_bytes(size: int, salt: int) -> bytes:
    return os.urandom(size)


@env.task
def fill(count: int, size: int) -> int:
    """Values too large for the journal fill the blobs, small ones the journal."""
    found = perdure.map(random_bytes, [size] * count, range(count))
    return sum(len(value) for value in found)


@env.task
def pass_on(size: int) -> bytes:
    return random_bytes(size, 0)  # type: ignore[no-any-return]


@env.task
def hold(gate: Path) -> int:
    while not gate.exists():
        time.sleep(0.005)
    return twice(1)


@env.task
def says(text: str) -> str:
    print(text, flush=True)
    return text
