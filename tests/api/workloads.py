"""Tasks that the tests of the executors run."""

import asyncio
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
