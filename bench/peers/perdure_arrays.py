"""Tasks of Perdure's hand-over of arrays: a module of its own, as numpy is not light."""

import asyncio
import time
from typing import Any

import numpy as np

import perdure
from child import Figures, private_mb

env = perdure.TaskEnvironment("bench_arrays")


@env.task
def make(n: int) -> np.ndarray:
    return np.ones(n)


@env.task
def total(array: np.ndarray) -> tuple[float, float | None]:
    return float(array.sum()), private_mb()


@env.task
async def root(n: int) -> Figures:
    await asyncio.gather(*(total.aio(np.ones(10)) for _ in range(8)))
    start = time.perf_counter()
    array: Any = make.submit(n)  # passed on as it is: the array never comes here
    assert (await total.submit(array))[0] == n
    first = time.perf_counter()
    totals = await asyncio.gather(*(total.submit(array) for _ in range(8)))
    eight = time.perf_counter() - first
    assert sum(each for each, _ in totals) == 8 * n
    largest = max((private for _, private in totals if private is not None), default=None)
    return {"one_s": first - start, "eight_s": eight, "reader_private_mb": largest}
