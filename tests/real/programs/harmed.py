"""Tasks whose values are large, so that they lie in files that something may happen to."""

import os
from pathlib import Path

import perdure
from perdure.io import File

env = perdure.TaskEnvironment("harmed")
SIZE = 200_000


def flip(path: Path) -> None:
    """Change one bit in the middle of a file, as a failing disk would."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes((byte ^ 1,)))


@env.task
def make(seed: int) -> bytes:
    return bytes((seed,)) * SIZE


@env.task
def publish(seed: int) -> str:
    return perdure.artifacts.publish(bytes((seed,)) * SIZE, name="harmed").label


@env.task
def make_file(seed: int, scratch: Path) -> File:
    scratch.write_bytes(bytes((seed,)) * SIZE)
    return File.from_local_sync(scratch)


@env.task
def read(file: File) -> int:
    with file.open_sync("rb") as opened:
        return len(opened.read())


@env.task(retries=1)
def go_on() -> bytes:
    checkpoint = perdure.ctx().checkpoint
    saved: bytes | None = checkpoint.load()
    if saved is None:
        checkpoint.save(b"state" * 1000)
        (kept,) = checkpoint.path.parent.glob("*/bytes")
        flip(kept)
        raise OSError("the connection broke")
    return saved
