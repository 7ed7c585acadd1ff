"""Tasks that hand files, folders and arrays over."""

import os
import tempfile
from pathlib import Path

import numpy as np

import perdure
from perdure.io import Dir, File

env = perdure.TaskEnvironment("files")
PARTS = 3
SIZE = 100_000


@env.task
def make(part: int) -> File:
    """Return a file that was written to a folder which is gone by now."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"part-{part}")
        path.write_bytes(bytes([part]) * SIZE)
        return File.from_local_sync(path)


@env.task
async def double(file: File) -> File:
    """Return a file twice as long."""
    made = File.new_remote("double")
    async with file.open("rb") as source, made.open("wb") as target:
        content = await source.read()
        await target.write(content + content)
    return made


@env.task
def collect(files: list[File]) -> Dir:
    """Return a folder of them."""
    with tempfile.TemporaryDirectory() as folder:
        for i, file in enumerate(files):
            file.download_sync(Path(folder, f"{i}"))
        return Dir.from_local_sync(folder)


@env.task
def array(seed: int) -> np.ndarray:
    """Return a large array."""
    return np.full(SIZE, seed)


@env.task
def measure(folder: Dir, array: np.ndarray) -> int:
    """Return the size of everything."""
    return sum(file.size for file in folder.walk_sync()) + int(array.sum())


@env.task
def main() -> int:
    """Hand everything over."""
    parts = [make.submit(i) for i in range(PARTS)]
    doubled = [double.submit(part) for part in parts]
    folder = collect(perdure.gather(*doubled))
    return measure(folder, array(1))


RESULT = PARTS * 2 * SIZE + SIZE


@env.task
def downloads(file: File) -> tuple[str, str]:
    """Return where a download without a path was, and what was in it."""
    path = file.download_sync()
    return path, Path(path).read_text()


@env.task
def shout(file: File, into: str = "") -> str:
    """Return the words of a file, for the command line."""
    with file.open_sync("r") as handle:
        return str(handle.read()).upper() + into


@env.task
def variables() -> str:
    """Return where this worker stores."""
    return os.environ.get("PERDURE_STORAGE", "")


if __name__ == "__main__":
    print(perdure.with_runcontext(name="files").run(main).result())
