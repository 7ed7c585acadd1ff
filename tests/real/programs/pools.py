"""Tasks that run together in one worker."""

import asyncio
import ctypes
import os
from pathlib import Path

import perdure

top = perdure.TaskEnvironment("top")
env = perdure.TaskEnvironment("pools", reusable=perdure.ReusePolicy(replicas=1, concurrency=50))
pair = perdure.TaskEnvironment("pair", reusable=perdure.ReusePolicy(replicas=2, concurrency=20))
lines = perdure.TaskEnvironment("lines", reusable=perdure.ReusePolicy(replicas=(0, 1)))

here: set[int] = set()
inside = most = 0


@env.task
async def meet(i: int, n: int) -> int:
    """Return the process, once n attempts are in it."""
    here.add(i)
    while len(here) < n:
        await asyncio.sleep(0.001)
    return os.getpid()


@top.task
async def all_meet(n: int) -> int:
    return len(set(await asyncio.gather(*(meet(i, n) for i in range(n)))))


@env.task
async def count() -> int:
    """Return how many have been in the process at once."""
    global inside, most
    inside += 1
    most = max(most, inside)
    await asyncio.sleep(0.01)
    inside -= 1
    return most


@top.task
async def all_count(n: int) -> int:
    return max(await asyncio.gather(*(count() for _ in range(n))))


@pair.task
async def crash_if(poison: bool, mark: Path) -> str:
    """Crash among others; they end when no more are coming."""
    with mark.open("a") as file:
        file.write("x")
    await asyncio.sleep(0.02)
    if poison:
        ctypes.string_at(0)
    return "through"


@top.task
async def one_crashes(n: int, mark: Path) -> list[str]:
    calls = [crash_if.override(short_name=f"t{i}")(i == n // 2, mark) for i in range(n)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [r if isinstance(r, str) else type(r).__name__ for r in results]


@env.task
async def stay(i: int) -> int:
    print(f"{i} is here")
    await asyncio.sleep(0.01)
    print(f"{i} is still here")
    await asyncio.sleep(3600 if i == 3 else 0.02)
    print(f"{i} leaves")
    return i


@top.task
async def one_is_cancelled(n: int) -> list[str]:
    calls = [stay(i) for i in range(n)]
    await asyncio.gather(*(call for i, call in enumerate(calls) if i != 3))
    calls[3].cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [type(r).__name__ if isinstance(r, BaseException) else str(r) for r in results]


@top.task
async def one_is_too_late(n: int) -> list[str]:
    limits = [0.3 if i == 3 else 60 for i in range(n)]
    calls = [stay.override(timeout=limit)(i) for i, limit in enumerate(limits)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [type(r).__name__ if isinstance(r, BaseException) else str(r) for r in results]


@lines.task
def depth(n: int) -> int:
    """A def task that calls itself although there is one worker for it."""
    return depth(n - 1) + 1 if n else 0


@env.task
async def async_depth(n: int) -> int:
    return await async_depth(n - 1) + 1 if n else 0
