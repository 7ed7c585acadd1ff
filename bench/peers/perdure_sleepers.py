"""Tasks of Perdure's sleepers: an environment whose one worker takes many calls at a time."""

import asyncio
import time

import perdure
from child import Figures

CONCURRENCY = 1000

env = perdure.TaskEnvironment("bench")
sleepers = perdure.TaskEnvironment(
    "bench_sleepers", reusable=perdure.ReusePolicy(replicas=1, concurrency=CONCURRENCY)
)


@sleepers.task
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@env.task
async def root(n: int, seconds: float) -> Figures:
    await nap(0.0)
    start = time.perf_counter()
    await asyncio.gather(*(nap(seconds) for _ in range(n)))
    return {"wall_s": time.perf_counter() - start}
