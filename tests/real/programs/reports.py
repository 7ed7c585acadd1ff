"""Tasks that report."""

import os
import signal
from pathlib import Path

import perdure

env = perdure.TaskEnvironment("reports")


@env.task(report=True)
def child(number: int) -> int:
    perdure.report.log(f"<p>child {number}</p>")
    return number


@env.task
async def main() -> list[int]:
    await perdure.report.log.aio(perdure.report.markdown("# Both"))
    perdure.report.tab("details").log([1, 2])
    return [await child.aio(1), await child.aio(2)]


@env.task
def quiet() -> None:
    pass


@env.task(retries=2)
def breaking() -> None:
    attempt = perdure.ctx().attempt_number
    perdure.report.log(f"<p>attempt {attempt}</p>")
    if attempt == 0:
        raise ValueError("no")
    perdure.report.flush()
    if attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@env.task
def followed(gate: Path) -> None:
    perdure.report.log("<p>so far</p>", do_flush=True)
    while not gate.exists():
        pass


@env.task
def hopeless() -> None:
    perdure.report.log("<p>last words</p>")
    raise ValueError("no")


@env.task
def nowhere(blocked: Path) -> str:
    perdure.report.log("<p>x</p>")
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("in the way")
    return "done"
