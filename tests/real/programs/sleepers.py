"""Tasks that sleep for long, and say when their code is executed."""

import os
import sys
import time
from pathlib import Path

import perdure

env = perdure.TaskEnvironment("sleepers")


def leave_mark(mark: Path, what: str) -> None:
    """Write a line to the file that the test looks at."""
    with mark.open("a") as file:
        file.write(f"{what} {os.getpid()} {perdure.ctx().attempt_number}\n")


@env.task
def sleepy(mark: Path, seconds: float) -> str:
    leave_mark(mark, "begin")
    try:
        perdure.durable.sleep(seconds)
    except BaseException:
        leave_mark(mark, "noticed")
        raise
    finally:
        leave_mark(mark, "finally")
    return "awake"


@env.task
async def asleep(mark: Path, seconds: float) -> str:
    leave_mark(mark, "begin")
    try:
        await perdure.durable.sleep.aio(seconds)
    except BaseException:
        leave_mark(mark, "noticed")
        raise
    leave_mark(mark, "finally")
    return "awake"


@env.task
async def parent(mark: Path, seconds: float) -> list[str]:
    leave_mark(mark, "parent")
    return [*await perdure.gather(asleep(mark, seconds), asleep(mark, seconds + 0.1))]


@env.task
async def asker(mark: Path) -> str:
    leave_mark(mark, "begin")
    return str(await perdure.new_condition("go on?", data_type=str).wait.aio())


@env.task
async def keeper(mark: Path, seconds: float) -> str:
    leave_mark(mark, "begin")
    try:
        await perdure.durable.sleep.aio(seconds)
    finally:
        leave_mark(mark, "finally")
    return "awake"


def main(name: str, mark: str, seconds: str) -> None:
    """Start the run, say so once it is parked, and wait for it."""
    run = perdure.with_runcontext(name=name).run(sleepy, Path(mark), float(seconds))
    while run.phase.value != "waiting":
        time.sleep(0.01)
    print("parked", flush=True)
    print(run.result(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
