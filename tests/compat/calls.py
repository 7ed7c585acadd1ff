"""Every form in which a task can be called, waited for and given up."""

import asyncio
import concurrent.futures
import contextvars
import functools
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import perdure
from perdure import errors

env = perdure.TaskEnvironment("calls")
other = perdure.TaskEnvironment("other", env_vars={"PLACE": "other"})


@env.task
def inc(x: int) -> int:
    return x + 1


@env.task
async def ainc(x: int) -> int:
    return x + 1


@env.task
def fail(text: str = "no") -> int:
    raise KeyError(text)


@env.task
async def afail(text: str = "no") -> int:
    raise KeyError(text)


@env.task
async def forever() -> None:
    await asyncio.sleep(600)


@env.task
def stuck() -> None:
    time.sleep(600)


@env.task
def add(a: int, b: int, c: int = 0) -> int:
    return a + b + c


@env.task
def total(items: list[int]) -> int:
    return sum(items)


@dataclass
class Box:
    item: int
    more: dict[str, list[int]]


@env.task
def unbox(box: Box) -> int:
    return box.item + sum(box.more["k"])


# --- async forms ----------------------------------------------------------------------------------


@env.task
async def awaiting() -> list[Any]:
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        in_group = [group.create_task(ainc(k)) for k in range(3)]
    done, pending = await asyncio.wait([ainc(5), ainc(6)])
    first, _ = await asyncio.wait(
        [inc.aio(7), forever()], return_when=asyncio.FIRST_COMPLETED, timeout=60
    )
    return [
        await ainc(0),
        await inc.aio(0),
        await inc.submit(0),
        await asyncio.gather(ainc(1), inc.aio(2), asyncio.create_task(ainc(3))),
        [task.result() for task in in_group],
        await asyncio.wait_for(ainc(4), 60),
        sorted(each.result() for each in done),
        len(pending),
        [each.result() for each in first],
        sorted([await each for each in asyncio.as_completed([ainc(8), inc.aio(9)])]),
        await asyncio.shield(ainc(10)),
        await asyncio.ensure_future(ainc(11)),
        await loop.create_task(ainc(12)),
        await asyncio.to_thread(inc, 13),
        await asyncio.gather(*(asyncio.to_thread(inc, k) for k in range(3))),
    ]


@env.task
async def from_threads() -> list[int]:
    loop = asyncio.get_running_loop()

    async def call(x: int) -> int:
        return await ainc(x)

    def work(x: int) -> int:
        return asyncio.run_coroutine_threadsafe(call(x), loop).result(60)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(await asyncio.gather(*(loop.run_in_executor(pool, work, k) for k in range(3))))


@env.task
async def giving_up() -> list[str]:
    said = []
    try:
        await asyncio.wait_for(forever(), 0.05)
    except TimeoutError:
        said.append("wait_for")
    try:
        async with asyncio.timeout(0.05):
            await forever()
    except TimeoutError:
        said.append("timeout")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(forever())
            group.create_task(afail())
    except* KeyError:
        said.append("group")
    future = forever()
    future.cancel()
    try:
        await future
    except asyncio.CancelledError:
        said.append("cancel")
    shielded = ainc(1)
    try:
        async with asyncio.timeout(0):
            await asyncio.shield(shielded)
    except TimeoutError:
        said.append(f"shield {await shielded}")
    results = await asyncio.gather(afail("a"), ainc(1), return_exceptions=True)
    said.append(repr(results))
    return said


# --- sync forms -----------------------------------------------------------------------------------


@env.task
def blocking() -> list[Any]:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        in_pool = list(pool.map(inc, range(4)))
    in_thread: list[int] = []
    thread = threading.Thread(target=lambda: in_thread.append(inc(5)))
    thread.start()
    thread.join()

    async def inside() -> list[int]:
        return await asyncio.gather(ainc(1), inc.aio(2))

    futures = [inc.submit(k) for k in range(4)]
    return [
        inc(0),
        ainc(1).result(),
        in_pool,
        in_thread,
        asyncio.run(inside()),
        perdure.gather(*futures),
        sorted(future.result() for future in perdure.as_completed(futures)),
        [len(part) for part in perdure.wait(futures, num_returns=2)],
        inc.submit(1).result(timeout=60),
        repr(fail.submit("x").exception()),
        asyncio.run(_wait_aio()),
    ]


async def _wait_aio() -> list[int]:
    done, rest = await perdure.wait.aio([ainc(1), ainc(2)], num_returns=2)
    return [len(done), len(rest)]


@env.task
def passing_on() -> list[Any]:
    one = inc.submit(0)
    bad = fail.submit("bad")
    try:
        total([one, bad])
    except KeyError as error:
        failed = repr(error)
    return [
        inc(one),
        total([one, 2, one]),
        unbox(Box(one, {"k": [one, 5]})),
        add(one, b=one, c=inc.submit(one)),
        failed,
    ]


@env.task
def mapping() -> list[Any]:
    def evens() -> Iterator[int]:
        yield from (0, 2, 4)

    early = []
    for value in perdure.map(inc, itertools.count()):
        early.append(value)
        if value == 3:
            break
    return [
        list(perdure.map(inc, range(4))),
        list(perdure.map(add, [1, 2], [10, 20, 30])),
        list(perdure.map(functools.partial(add, 1, c=100), [1, 2])),
        list(perdure.map(inc, [])),
        list(perdure.map(inc, evens(), concurrency=1)),
        list(itertools.islice(perdure.map(inc, itertools.count(), concurrency=2), 3)),
        [repr(each) for each in perdure.map(fail, ["a", "b"], return_exceptions=True)],
        early,
        list(perdure.map(ainc, range(3))),
    ]


@env.task
async def mapping_aio() -> list[Any]:
    early = []
    async for value in perdure.map.aio(inc, itertools.count(), concurrency=3):
        early.append(value)
        if value == 3:
            break
    return [
        [value async for value in perdure.map.aio(ainc, range(3))],
        [value async for value in perdure.map.aio(add, [1, 2], [3, 4], concurrency=1)],
        early,
        [repr(e) async for e in perdure.map.aio(afail, ["a"], return_exceptions=True)],
        await perdure.gather(ainc(1), inc.aio(1)),
        sorted([f.result() async for f in perdure.as_completed([ainc(1), inc.aio(2)])]),
    ]


@env.task
def overriding() -> list[Any]:
    views = [
        inc.override(resources=perdure.Resources(cpu=0.5, memory="256Mi")),
        inc.override(retries=3),
        inc.override(retries=perdure.RetryStrategy(2, perdure.Backoff(0.1), on=(OSError,))),
        inc.override(timeout=perdure.Timeout(max_runtime=60, deadline=90)),
        inc.override(cache="disable"),
        inc.override(env_vars={"A": "b"}),
        inc.override(short_name="other"),
        inc.override(retries=0, timeout=None, resources=None, env_vars={}),
    ]
    return [view(k) for k, view in enumerate(views)]


# --- steps ----------------------------------------------------------------------------------------


@perdure.trace
def step(x: int, /, y: int = 1, *more: int, z: int = 0) -> int:
    return x + y + sum(more) + z


@perdure.trace
async def astep(x: int) -> int:
    return x + 1


@perdure.trace
def stream(n: int) -> Iterator[int]:
    yield from range(n)


@perdure.trace
async def astream(n: int) -> AsyncIterator[int]:
    for k in range(n):
        yield k


@dataclass(frozen=True)
class Client:
    base: int

    @perdure.trace
    def ask(self, x: int) -> int:
        return self.base + x

    @perdure.trace
    async def aask(self, x: int) -> int:
        return self.base + x

    @classmethod
    @perdure.trace
    def make(cls, x: int) -> int:
        return x

    @staticmethod
    @perdure.trace
    def static(x: int) -> int:
        return x


@env.task
def steps() -> list[Any]:
    with perdure.group("outer"), perdure.group("inner"):
        grouped = [inc(0), step(1)]
    try:
        perdure.trace(fail.forward)("x")
    except KeyError as error:
        raised = repr(error)
    return [
        step(1, 2, 3, z=4),
        list(stream(3)),
        Client(10).ask(1),
        Client.make(1),
        Client(1).static(2),
        grouped,
        raised,
        perdure.durable.uuid4().version,
        0 <= perdure.durable.random() < 1,
        perdure.durable.now().tzinfo is not None,
        isinstance(perdure.durable.time(), float),
        perdure.durable.sleep(0.01),
    ]


@env.task
async def asteps() -> list[Any]:
    return [
        await astep(1),
        [k async for k in astream(3)],
        await Client(10).aask(1),
        step(1),
        list(stream(2)),
        (await perdure.durable.now.aio()).tzinfo is not None,
        await perdure.durable.sleep.aio(0.01),
        perdure.ctx().attempt_number,
        perdure.ctx().action.run_name == perdure.ctx().run,
    ]


@env.task
async def contexts() -> list[Any]:
    with perdure.custom_context(a="1"):
        one = await see.aio()
        with perdure.custom_context(b="2"):
            both, deep = await asyncio.gather(see.aio(), see_deep())
    return [one, both, deep, await see.aio()]


@env.task
def see() -> dict[str, str]:
    return dict(perdure.ctx().custom_context)


@env.task
async def see_deep() -> dict[str, str]:
    return await see.aio()


marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker", default="")


@env.task
async def mark(x: int) -> str:
    found = marker.get()
    marker.set(f"set by {x}")
    return found


@env.task
async def marking() -> list[str]:
    return await asyncio.gather(*(mark(k) for k in range(50)))


# --- where tasks are ------------------------------------------------------------------------------


class Tools:
    @staticmethod
    @env.task
    def static(x: int) -> int:
        return x + 1

    @env.task
    def method(self, x: int) -> int:
        return x


def here(x: int) -> int:
    return x + 100


twice = env.task(short_name="twice")(here)
thrice = other.task(short_name="thrice")(here)


@env.task
def place() -> str:
    import os

    return os.environ.get("PLACE", "none")


place_there = other.task(short_name="place")(place.function)


@env.task
def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


@env.task
def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


@env.task
def fib(n: int) -> int:
    return n if n < 2 else sum(perdure.gather(fib.submit(n - 1), fib.submit(n - 2)))


@env.task
def places() -> list[Any]:
    from callpkg.main import main

    step = 5
    local = env.task(short_name="local")(lambda x: x + step)

    @env.task
    def factory(x: int) -> int:
        return local(x) + step

    try:
        Tools().method(1)
    except errors.ConfigurationError as error:
        refused = error.message
    return [
        Tools.static(1),
        refused,
        twice(1),
        thrice(1),
        place(),
        place_there(),
        even(4),
        fib(5),
        main(1),
        local(1),
        factory(1),
    ]
