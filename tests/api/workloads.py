"""Tasks that the tests of the executors run."""

import asyncio
import gc
import time

import perdure

env = perdure.TaskEnvironment("w")


@env.task
def double(x: int) -> int:
    return 2 * x


@env.task
async def triple(x: int) -> int:
    return 3 * x


@env.task
async def fan_out(n: int) -> list[int]:
    return await asyncio.gather(*(double.aio(i) for i in range(n)))


@env.task
async def fan_out_async(n: int) -> int:
    return sum(await asyncio.gather(*(triple(i) for i in range(n))))


@env.task
def sequential(n: int) -> int:
    return sum(double(i) for i in range(n))


@env.task
def fibonacci(n: int) -> int:
    if n < 2:
        return n
    left = fibonacci.submit(n - 1)
    return fibonacci(n - 2) + left.result()


@env.task
async def forms_of_awaiting(x: int) -> list[int]:
    results = [await triple(x), await asyncio.create_task(triple(x)), await triple.submit(x)]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(double.aio(x))
    results.append(task.result())
    results.append(await asyncio.wait_for(triple(x), 20))
    results.append(await asyncio.shield(triple(x)))
    async with asyncio.timeout(20):
        results.append(await triple(x))
    done, _ = await asyncio.wait([triple(x), asyncio.ensure_future(triple(x))])
    results += [future.result() for future in done]
    for first in asyncio.as_completed([triple(x)]):
        results.append(await first)
    return results


@env.task
async def slow(seconds: float) -> str:
    print("started", flush=True)
    await asyncio.sleep(seconds)
    return "slept"


@env.task
def slow_sync(seconds: float) -> str:
    print("started", flush=True)
    try:
        time.sleep(seconds)
    finally:
        print("cleaned up")
    return "slept"


@env.task
def busy() -> None:
    print("started", flush=True)
    while True:
        pass


@env.task
async def gives_up() -> str:
    try:
        async with asyncio.timeout(0.05):
            await slow(60)
    except TimeoutError:
        return "gave up"
    return "?"


@env.task
async def leaves_child() -> str:
    slow.submit(60)
    return "left"


@env.task
def fails(kind: str) -> None:
    if kind == "exit":
        raise SystemExit(3)
    if kind == "interrupt":
        raise KeyboardInterrupt
    raise KeyError(kind)


@env.task
async def fails_async(kind: str) -> None:
    if kind == "exit":
        raise SystemExit(3)
    raise KeyError(kind)


@env.task
async def hands_on_a_failure() -> str:
    early = fails_async("gone")
    await asyncio.wait([early])
    for future in (early, fails_async("gone")):
        try:
            await double.aio(future)
        except KeyError as error:
            said = repr(error)
    return said


@env.task
async def subtask_exits() -> None:
    async def leave() -> None:
        raise SystemExit(4)

    await asyncio.create_task(leave())


@env.task
def catches() -> str:
    try:
        fails("x")
    except KeyError as error:
        return f"caught {error.args[0]}"
    return "?"


@env.task
async def ignores_failure() -> str:
    future = fails_async.submit("y")
    await asyncio.wait([future])
    return "ignored"


@env.task
def wrong_result() -> int:
    return "seven"  # type: ignore[return-value]


@env.task
def unstorable() -> object:
    return (i for i in range(3))


@env.task(retries=perdure.RetryStrategy(3, on=OSError))
def picky(kind: str) -> int:
    attempt = perdure.ctx().attempt_number
    if kind == "value":
        raise ValueError
    if attempt < 2:
        raise OSError("again")
    return attempt


@env.task
def overridden() -> int:
    return picky.override(retries=perdure.RetryStrategy(5, on=(OSError, KeyError)))("os")


@env.task
def passes_on(x: int) -> int:
    return double(double.submit(double.submit(x)))


@env.task
def passes_wrong() -> int:
    return double(slow_sync.submit(0.0))


@env.task
def blocking_on_loop() -> str:
    async def main() -> str:
        try:
            double(1)
        except perdure.errors.SyncTaskCallInAsyncContextError as error:
            return str(error)
        return "?"

    return asyncio.run(main())


@env.task
def own_loop(n: int) -> list[int]:
    async def main() -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(double.aio(i)) for i in range(n)]
        return [task.result() for task in tasks] + [await triple(n)]

    return asyncio.run(main())


@env.task
def threads(n: int) -> list[int]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(double, range(n)))


@env.task
async def to_thread(n: int) -> int:
    return await asyncio.to_thread(lambda: sum(double(i) for i in range(n)))


@env.task
def forever(n: int) -> int:
    return forever(n + 1)


@env.task
def mapped(n: int, concurrency: int = 0) -> list[int]:
    return list(perdure.map(double, range(n), concurrency=concurrency))


@env.task
async def mapped_aio(n: int, concurrency: int = 0) -> list[int]:
    return [r async for r in perdure.map.aio(triple, range(n), concurrency=concurrency)]


@env.task
def add(x: int, y: int, scale: int = 1) -> int:
    return (x + y) * scale


@env.task
def maps() -> list[object]:
    import functools
    import itertools

    partial = list(perdure.map(functools.partial(add, 10, scale=2), [1, 2]))
    shortest = list(perdure.map(add, itertools.count(), [5, 6]))
    errors = [repr(e) for e in perdure.map(fails, ["a", "b"], return_exceptions=True)]
    endless = list(itertools.islice(perdure.map(double, itertools.count(), concurrency=3), 5))
    return [partial, shortest, errors, endless]


@env.task
def waits() -> list[object]:
    futures = [slow_sync.submit(5.0), double.submit(1), double.submit(2)]
    done, rest = perdure.wait(futures, num_returns=2)
    values = sorted(f.result() for f in done)
    none, _ = perdure.wait(rest, timeout=0.01)
    rest[0].cancel()
    first = [f.result() for f in perdure.as_completed([double.submit(4)])]
    both = perdure.gather(double.submit(5), double.submit(6))
    mixed = perdure.gather(double.submit(7), fails.submit("g"), return_exceptions=True)
    return [values, len(none), rest[0].cancelled(), first, both, repr(mixed)]


@env.task
async def naps(seconds: float) -> None:
    await perdure.durable.sleep.aio(seconds)


@env.task
async def waits_aio() -> list[object]:
    futures = [naps.submit(60.0), triple.submit(1), triple.submit(2)]
    done, rest = await perdure.wait.aio(futures, num_returns=2)
    values = sorted(f.result() for f in done)
    none, _ = await perdure.wait.aio(rest, timeout=0.01)
    rest[0].cancel()
    first = [f.result() async for f in perdure.as_completed([triple.submit(4)])]
    both = await perdure.gather(triple.submit(5), double.submit(6))
    return [values, len(none), rest[0].cancelled(), first, both]


@perdure.trace
def step(x: int) -> int:
    print(f"step {x}")
    if x < 0:
        raise LookupError(f"negative {x}")
    return x + 1


@perdure.trace
async def step_aio(x: int) -> int:
    print(f"step_aio {x}")
    return x + 1


@perdure.trace
def items(n: int):
    print(f"items {n}")
    yield from range(n)


@perdure.trace
async def items_aio(n: int):
    print(f"items_aio {n}")
    for i in range(n):
        yield i


@env.task
def traced() -> list[object]:
    try:
        step(-1)
    except LookupError as error:
        caught = str(error)
    return [step(1), step(1), caught, list(items(3))]


@env.task
async def traced_aio() -> list[object]:
    return [await step_aio(1), [i async for i in items_aio(3)]]


@env.task
def durable() -> list[object]:
    d = perdure.durable
    d.sleep(0.01)
    return [d.now(), d.time(), d.uuid4(), d.uuid4(), d.random()]


@env.task
async def durable_aio() -> list[object]:
    d = perdure.durable
    await d.sleep.aio(0.01)
    return [await d.now.aio(), await d.time.aio(), d.uuid4(), d.random()]


@env.task
async def thresholds() -> list[int]:
    return [*gc.get_threshold()]


@env.task
def context() -> list[object]:
    ctx = perdure.ctx()
    with perdure.group("outer"), perdure.group("inner"):
        double(1)
    return [ctx.run, ctx.task, ctx.attempt_number, dict(perdure.get_custom_context())]


@env.task
def prints(text: str) -> None:
    print(text)


@env.task
def huge_window(n: int) -> int:
    return sum(1 for _ in perdure.map(double, range(n)))


@env.task
def waits_for_child() -> str:
    print("started", flush=True)
    return slow_sync(60.0)


@env.task
def waits_on_own_loop() -> str:
    print("started", flush=True)

    async def main() -> str:
        return await slow_sync.aio(60.0)

    return asyncio.run(main())
