"""Tasks as the manual of Flyte 2 shows them, with nothing but the import changed."""

# ruff: noqa: PTH118, PTH123  # as the manual does

import os
import tempfile

import perdure as flyte
from perdure.io import Dir, File

env = flyte.TaskEnvironment("flyte_files")


@env.task
async def upload_file() -> File:
    path = os.path.join(tempfile.mkdtemp(), "data.csv")
    with open(path, "w") as f:
        f.write("col1,col2\n1,2\n3,4\n")
    return await File.from_local(path)


@env.task
def upload_file_sync() -> File:
    path = os.path.join(tempfile.mkdtemp(), "data.csv")
    with open(path, "w") as f:
        f.write("5,6\n")
    return File.from_local_sync(path)


@env.task
async def read_file(file: File) -> str:
    async with file.open("rb") as f:
        return bytes(await f.read()).decode("utf-8")


@env.task
def read_file_sync(file: File) -> str:
    with file.open_sync("rb") as f:
        return f.read().decode("utf-8")


@env.task
async def write_file() -> File:
    file = File.new_remote()
    async with file.open("wb") as f:
        await f.write(b"Hello, World!")
    return file


@env.task
async def download_file(file: File) -> str:
    with open(await file.download()) as f:
        return f.read()


@env.task
async def check_file(file: File) -> bool:
    return await file.exists()


@env.task
async def pass_through(file: File) -> File:
    return file


@env.task
async def upload_directory() -> Dir:
    folder = tempfile.mkdtemp()
    for i in range(3):
        with open(os.path.join(folder, f"file{i}.txt"), "w") as f:
            f.write(str(i))
    return await Dir.from_local(folder)


@env.task
async def process_all_files(d: Dir) -> int:
    total = 0
    async for file in d.walk(recursive=True):
        async with file.open("rb") as f:
            total += int(await f.read())
    return total


@env.task
def list_text_files(d: Dir) -> list[str]:
    return [file.name for file in d.walk_sync(recursive=True, file_pattern="*.txt")]


@env.task
async def read_specific_file(d: Dir) -> str:
    file = await d.get_file("file2.txt")
    if file:
        return await read_file(file)
    return "File not found"


@env.task
async def process_existing_file(path: str) -> str:
    return await read_file(File.from_existing_remote(path))


@env.task
async def main(existing: str) -> list:
    written, uploaded = await write_file(), await upload_file()
    folder = await upload_directory()
    return [
        await read_file(written),
        await download_file(await pass_through(uploaded)),
        await read_file_sync.aio(await upload_file_sync.aio()),
        await check_file(written),
        await process_all_files(folder),
        await list_text_files.aio(folder),
        await read_specific_file(folder),
        await process_existing_file(existing),
    ]
