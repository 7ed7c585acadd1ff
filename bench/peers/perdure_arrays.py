"""Tasks of Perdure's hand-over of arrays: a module of its own, as numpy is not light."""

import asyncio
import time
from typing import Any

import numpy as np

import perdure
from child import Figures

env = perdure.TaskEnvironment("bench_arrays")


@env.task
def make(n: int) -> np.ndarray:
    return np.ones(n)


@env.task
def total(array: np.ndarray) -> float:
    return float(array.sum())


@env.task
async def root(n: int) -> Figures:
    await asyncio.gather(*(total.aio(np.ones(10)) for _ in range(8)))
    start = time.perf_counter()
    array: Any = make.submit(n)  # passed on as it is: the array never comes here
    assert await total.submit(array) == n
    first = time.perf_counter()
    assert sum(await asyncio.gather(*(total.submit(array) for _ in range(8)))) == 8 * n
    return {"one_s": first - start, "eight_s": time.perf_counter() - first}
