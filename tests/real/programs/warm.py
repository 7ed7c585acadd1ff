"""Environments that are started up, and workers that are replaced."""

import asyncio
import os
import threading
from pathlib import Path

import perdure

top = perdure.TaskEnvironment("top")
model = perdure.TaskEnvironment("model", reusable=perdure.ReusePolicy(replicas=(0, 2)))
filled = perdure.TaskEnvironment("filled")
fickle = perdure.TaskEnvironment(
    "fickle", reusable=perdure.ReusePolicy(idle_ttl=0.1, scaledown_ttl=0.1)
)
client = perdure.TaskEnvironment("client", reusable=perdure.ReusePolicy(replicas=1, concurrency=20))
broken = perdure.TaskEnvironment("broken", reusable=perdure.ReusePolicy(replicas=1))
deadly = perdure.TaskEnvironment("deadly", reusable=perdure.ReusePolicy(replicas=1))
stuck = perdure.TaskEnvironment("stuck", reusable=perdure.ReusePolicy(replicas=1))
isolated = perdure.TaskEnvironment("isolated", reusable=None)
fleeting = perdure.TaskEnvironment(
    "fleeting", reusable=perdure.ReusePolicy(replicas=1, max_attempts=3)
)
greedy = perdure.TaskEnvironment(
    "greedy", reusable=perdure.ReusePolicy(replicas=1, max_memory="200Mi")
)
private = perdure.TaskEnvironment("private", reusable=perdure.ReusePolicy(replicas=1, scope="run"))
unused = perdure.TaskEnvironment("unused", reusable=perdure.ReusePolicy(replicas=3))

hoard: list[bytes] = []


def leave_mark(name: str) -> None:
    """Write a line to the file that the test looks at."""
    with Path(os.environ["MARKS"]).open("a") as file:
        file.write(f"{name} {os.getpid()}\n")


@model.on_start
def load() -> dict[str, int]:
    leave_mark("load")
    print("the model is loaded")
    os.chdir("/")
    return {"home": os.getpid()}


@model.task
def predict(x: int) -> tuple[int, int]:
    ctx = perdure.ctx()
    assert ctx is not None
    return ctx.state["home"], os.getpid()


@model.task
async def predict_async(x: int) -> tuple[int, int]:
    ctx = perdure.ctx()
    assert ctx is not None
    return ctx.state["home"], os.getpid()


@model.task
def folder() -> str:
    return str(Path.cwd())


@top.task
async def thousand(n: int) -> list[tuple[int, int]]:
    return await asyncio.gather(*(predict.aio(x) for x in range(n)))


@client.on_start
async def connect() -> asyncio.AbstractEventLoop:
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


@client.task
async def same_loop() -> bool:
    ctx = perdure.ctx()
    assert ctx is not None
    return ctx.state is asyncio.get_running_loop()


@fickle.on_start
async def answer() -> int:
    await asyncio.sleep(0)
    return os.getpid()


@fickle.task
def started_by_a_coroutine() -> tuple[int, int]:
    ctx = perdure.ctx()
    assert ctx is not None
    return ctx.state, os.getpid()


class NoModelError(Exception):
    """The hook's own."""


@stuck.on_start(timeout=1)
def hangs() -> None:
    leave_mark("hangs")
    threading.Event().wait()


@stuck.task
def never_ready() -> None: ...


@filled.on_start
def fill() -> None:
    ctx = perdure.ctx()
    assert ctx is not None
    ctx.state.home = os.getpid()
    ctx.state["again"] = {"home": ctx.state["home"]}
    assert "again" in ctx.state
    assert "other" not in ctx.state
    assert not hasattr(ctx, "run")


@filled.task
def by_name() -> tuple[int, int, int]:
    ctx = perdure.ctx()
    assert ctx is not None
    return ctx.state["home"], ctx.state.again["home"], os.getpid()


@filled.task
async def by_name_async() -> tuple[int, int, int]:
    ctx = perdure.ctx()
    assert ctx is not None
    return ctx.state["home"], ctx.state.again["home"], os.getpid()


@broken.on_start
def cannot_load() -> None:
    leave_mark("cannot load")
    raise NoModelError("there is no model in the shop")


@broken.task
def never(x: int) -> int:
    return x


@deadly.on_start
def dies() -> None:
    leave_mark("dies")
    os._exit(7)


@deadly.task
def never_either(x: int) -> int:
    return x


@top.task
def without_state() -> object:
    ctx = perdure.ctx()
    assert ctx is not None
    return ctx.state


@isolated.task
def alone(x: int) -> int:
    return os.getpid()


@fleeting.task
def brief(x: int) -> int:
    return os.getpid()


@greedy.task
def grow(megabytes: int) -> int:
    hoard.append(b"x" * (megabytes << 20))
    return os.getpid()


@private.task
def own() -> int:
    return os.getpid()


@top.task
def one_after_the_other(name: str, n: int) -> list[int]:
    task = {"alone": alone, "brief": brief}[name]
    return [task(x) for x in range(n)]


@top.task
def growing(sizes: list[int]) -> list[int]:
    return [grow(size) for size in sizes]
