"""A run of about 2,000 actions of every kind. Every execution leaves a line in STORM_LOG."""

import asyncio
import os
import sys
import time

import perdure

env = perdure.TaskEnvironment("storm")
pool = perdure.TaskEnvironment("pool", reusable=perdure.ReusePolicy(concurrency=8))
LOG = os.environ.get("STORM_LOG", "/dev/null")
WIDTH = int(os.environ.get("STORM_WIDTH", "20"))


def note(what: str) -> None:
    """Write ``what`` and the time to the log, whole lines even when many write."""
    file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, f"{what} {time.time():.6f}\n".encode())
    os.close(file)


def executed() -> None:
    """Note that the current action executes."""
    note(str(perdure.ctx().action))


@perdure.trace
def step(x: int) -> int:
    note(f"step-{perdure.ctx().action}-{x}")
    return x + 1


@perdure.trace
async def async_step(x: int) -> int:
    note(f"step-{perdure.ctx().action}-{x}")
    return x + 1


@env.task
def leaf(x: int) -> int:
    executed()
    time.sleep(0.002)
    return x * 2


@pool.task
async def async_leaf(x: int) -> int:
    executed()
    await asyncio.sleep(0.002)
    return x * 3


@env.task(retries=3)
def flaky(x: int) -> int:
    executed()
    if perdure.ctx().attempt_number == 0:
        raise ValueError(f"the first attempt of {x} fails")
    return x * 5


@env.task
def sync_branch(branch: int) -> int:
    executed()
    total = step(branch)
    futures = [leaf.submit(branch * 1000 + i) for i in range(20)]
    total += leaf(branch * 1000 + 500)
    total += sum(perdure.map(leaf, range(branch * 1000 + 600, branch * 1000 + 610)))
    return total + sum(future.result() for future in futures)


@env.task
async def async_branch(branch: int) -> int:
    executed()
    values = await asyncio.gather(
        *(async_leaf(branch * 1000 + i) for i in range(30)),
        *(leaf.aio(branch * 1000 + i) for i in range(20)),
        *(flaky.aio(branch * 1000 + i) for i in range(5)),
    )
    first = async_leaf(branch * 1000 + 700)
    passed_on = await leaf.aio(first)
    return sum(values) + await async_step(branch) + passed_on


@env.task
async def main(width: int) -> int:
    executed()
    branches = [async_branch(b) for b in range(width)]
    branches += [sync_branch.aio(100 + b) for b in range(width)]
    await perdure.durable.sleep.aio(0.05)
    return sum(await asyncio.gather(*branches))


if __name__ == "__main__":
    run = perdure.with_runcontext(name=sys.argv[1]).run(main, width=WIDTH)
    print(run.result())
