"""A run whose code changes between its start and its resumption: $MODE says which it is."""

import asyncio
import os
import sys
from pathlib import Path

import perdure

env = perdure.TaskEnvironment("changing")
BEFORE = os.environ["MODE"] == "before"


@env.task
async def leaf(i: int) -> int:
    return i


@env.task
async def main(mark: Path) -> int:
    total = sum(await asyncio.gather(*(leaf(i) for i in range(5 if BEFORE else 3))))
    if BEFORE:
        mark.write_text("ready")
        await perdure.durable.sleep.aio(300)
    return total


if __name__ == "__main__":
    run = perdure.with_runcontext(name="changing", strict=sys.argv[2:] == ["strict"])
    print(run.run(main, mark=Path(sys.argv[1])).result())
