"""Tasks that are cut off again and again, and go on from what they saved."""

import os
import signal
import sys
from pathlib import Path

import perdure

env = perdure.TaskEnvironment("checkpoints")


def note(log: Path, text: str) -> None:
    """Add a line that survives a kill."""
    with log.open("a") as file:
        file.write(f"{text}\n")


def times(log: Path, text: str) -> int:
    """Return how often that line was noted."""
    return log.read_text().splitlines().count(text)


def cut_off(log: Path, step: int, how: str) -> None:
    """End this attempt at some steps, the first time each is reached."""
    if step % 2 == 0 or times(log, f"{how} {step}") > 1:
        return
    if how == "error":
        raise OSError("the connection broke")
    os.kill(os.getpid(), signal.SIGKILL)


@env.task(retries=5)
def count(log: Path, how: str) -> int:
    checkpoint = perdure.ctx().checkpoint
    done = int(checkpoint.load() or b"0")
    for step in range(done, 5):
        note(log, f"{how} {step}")
        checkpoint.save(b"%d" % (step + 1))
        cut_off(log, step, how)
    return done


@env.task(retries=5)
async def acount(log: Path, how: str) -> int:
    checkpoint = perdure.ctx().checkpoint
    saved = await checkpoint.load()
    done = int(saved) if saved else 0
    for step in range(done, 5):
        note(log, f"{how} {step}")
        await checkpoint.save(b"%d" % (step + 1))
        cut_off(log, step, how)
    return done


@env.task
async def both(log: Path, how: str) -> list[int]:
    return [await count.aio(log, how=how), await acount(log.with_suffix(".async"), how=how)]


@env.task
def train(log: Path) -> str:
    """Write to ``path`` as a library would, and lose the whole run half way."""
    checkpoint = perdure.ctx().checkpoint
    for epoch in range(len(list(checkpoint.path.glob("*.ckpt"))), 4):
        note(log, f"epoch {epoch}")
        (checkpoint.path / f"{epoch}.ckpt").write_text("weights")
        if epoch == 1:
            os.kill(int(log.with_suffix(".driver").read_text()), signal.SIGKILL)
            signal.pause()
    last = perdure.latest_checkpoint(checkpoint.path, "*.ckpt", key=str)
    assert last is not None
    return last.name


@env.task
def mine() -> list[str]:
    checkpoint = perdure.ctx().checkpoint
    checkpoint.save(b"state")
    return [str(checkpoint.path), perdure.ctx().action]


@env.task
def siblings() -> list[list[str]]:
    return [mine.submit().result(), mine.submit().result(), mine.forward()]


if __name__ == "__main__":
    name, path = sys.argv[1:]
    Path(path).with_suffix(".driver").write_text(str(os.getpid()))
    print(perdure.with_runcontext(name=name).run(train, log=Path(path)).result())
