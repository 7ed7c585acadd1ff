"""Tasks that wait for long, and say when their code is executed."""

import os
from pathlib import Path

import perdure

env = perdure.TaskEnvironment("sleepers")


def leave_mark(mark: Path, what: str) -> None:
    """Write a line to the file that the test looks at."""
    with mark.open("a") as file:
        file.write(f"{what} {os.getpid()} {perdure.ctx().attempt_number}\n")


@env.task
def ask(mark: Path, name: str) -> str:
    leave_mark(mark, "begin")
    try:
        answer = perdure.new_condition(name, data_type=str).wait()
    except BaseException:
        leave_mark(mark, "noticed")
        raise
    finally:
        leave_mark(mark, "finally")
    return str(answer)


@env.task
async def ask_aio(mark: Path, name: str) -> str:
    leave_mark(mark, "begin")
    try:
        answer = await perdure.new_condition(name, data_type=str).wait.aio()
    except BaseException:
        leave_mark(mark, "noticed")
        raise
    leave_mark(mark, "finally")
    return str(answer)


@env.task
async def ask_carefully(mark: Path, name: str) -> str:
    leave_mark(mark, "begin")
    try:
        return str(await perdure.new_condition(name, data_type=str).wait.aio())
    finally:
        leave_mark(mark, "finally")


@env.task
async def ask_both(mark: Path) -> list[str]:
    return [*await perdure.gather(ask_aio(mark, "one"), ask_aio(mark, "two"))]


@env.task
def sleep(mark: Path, seconds: float) -> None:
    leave_mark(mark, "begin")
    perdure.durable.sleep(seconds)


@env.task
async def sleep_aio(mark: Path, seconds: float) -> None:
    leave_mark(mark, "begin")
    await perdure.durable.sleep.aio(seconds)
