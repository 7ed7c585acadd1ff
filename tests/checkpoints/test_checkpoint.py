"""What is saved is what is loaded, whole, whatever happened in between."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from perdure import _serde, errors
from perdure._api.checkpoint import Checkpoint, latest_checkpoint
from perdure._blobs.memory import MemoryBlobs

PROGRAM = Path(__file__).with_name("dying_saver.py")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "action", sync=False)


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_nothing_is_loaded_before_something_was_saved(checkpoint: Checkpoint) -> None:
    assert checkpoint.load() is None
    assert not checkpoint.prev_exists()


@pytest.mark.parametrize("data", [b"state", b"", bytearray(b"state"), memoryview(b"state")])
def test_bytes_come_back_as_bytes(checkpoint: Checkpoint, data: bytes) -> None:
    checkpoint.save(data)
    assert checkpoint.load() == bytes(data)
    assert checkpoint.prev_exists()


def test_bytes_can_be_read_like_the_file_that_flyte_has_in_their_place(
    checkpoint: Checkpoint,
) -> None:
    checkpoint.save("größe\n".encode())
    saved = checkpoint.load()
    assert saved.read_bytes() == "größe\n".encode()
    assert saved.read_text() == "größe\n"
    assert saved.open().read() == "größe\n"
    assert saved.open("rb").read() == "größe\n".encode()


def test_bytes_that_were_loaded_are_bytes_as_a_result_too(checkpoint: Checkpoint) -> None:
    checkpoint.save(b"state")
    blobs = MemoryBlobs()
    encoded = _serde.dumps(checkpoint.load(), blobs)
    assert encoded.digest == _serde.dumps(b"state", blobs).digest
    assert type(_serde.loads(encoded.data, blobs)) is bytes


def test_a_file_comes_back_under_its_name_and_as_a_copy(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(b"weights")
    checkpoint.save(str(file))
    file.unlink()
    restored = checkpoint.load()
    assert (restored.name, restored.read_bytes()) == ("model.pt", b"weights")
    restored.write_bytes(b"changed")
    assert checkpoint.load().read_bytes() == b"weights"


def test_a_directory_comes_back_with_all_that_is_in_it(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "deep" / "deeper" / "file").write_bytes(b"x")
    (folder / "link").symlink_to("deep/deeper/file")
    (folder / "empty").mkdir()
    checkpoint.save(folder)
    restored = checkpoint.load()
    assert tree(restored) == {"deep/deeper/file": b"x", "link": b"x"}
    assert (restored / "link").is_symlink()
    assert (restored / "empty").is_dir()


def test_the_last_thing_saved_counts_and_takes_the_room_of_those_before(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"a file")
    for data in (b"first", tmp_path / "file", b"last"):
        checkpoint.save(data)
    assert checkpoint.load() == b"last"
    assert [p.name for p in (tmp_path / "action").iterdir()] == ["3"]


def test_path_is_the_same_directory_in_every_attempt(checkpoint: Checkpoint) -> None:
    (checkpoint.path / "epoch-1.ckpt").write_bytes(b"1")
    checkpoint.save(b"something else")
    again = Checkpoint(checkpoint._folder, sync=False)
    assert again.load() == b"something else"
    assert tree(again.path) == {"epoch-1.ckpt": b"1"}


def test_path_is_put_back_as_it_was_when_it_was_saved(checkpoint: Checkpoint) -> None:
    (checkpoint.path / "last.ckpt").write_bytes(b"whole")
    checkpoint.save(checkpoint.path)
    (checkpoint.path / "last.ckpt").write_bytes(b"ha")
    (checkpoint.path / "next.ckpt").write_bytes(b"l")
    again = Checkpoint(checkpoint._folder, sync=False)
    assert again.load() == again.path
    assert tree(again.path) == {"last.ckpt": b"whole"}


def test_load_sync_gives_a_path_in_any_case(checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert checkpoint.load_sync() is None
    checkpoint.save_sync(b"state")
    assert checkpoint.load_sync() == checkpoint.path / "payload"
    assert (checkpoint.path / "payload").read_bytes() == b"state"
    checkpoint.save_sync(tmp_path / "action" / "path")
    assert checkpoint.load_sync() == checkpoint.path


def test_on_an_event_loop_both_are_awaited(checkpoint: Checkpoint) -> None:
    async def use() -> object:
        assert await checkpoint.load() is None
        await checkpoint.save(b"state")
        return await checkpoint.load()

    assert asyncio.run(use()) == b"state"


def test_what_is_not_awaited_is_saved_all_the_same(checkpoint: Checkpoint) -> None:
    async def use() -> None:
        checkpoint.save(b"state")

    asyncio.run(use())  # its end waits for the threads of the loop
    assert checkpoint.load() == b"state"


def test_a_path_without_anything_says_how_to_save_text(checkpoint: Checkpoint) -> None:
    with pytest.raises(FileNotFoundError, match=r"save\(text\.encode\(\)\)"):
        checkpoint.save("epoch 3")


def test_a_folder_that_checkpoints_are_kept_in_is_refused(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    for folder in (tmp_path, tmp_path / "action", f"{tmp_path}/./"):
        with pytest.raises(errors.ConfigurationError, match="are kept inside it"):
            checkpoint.save(folder)
        (tmp_path / "action").mkdir(exist_ok=True)
    assert checkpoint.load() is None


def test_what_is_neither_bytes_nor_path_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(errors.TypeCheckError, match="not dict") as caught:
        checkpoint.save({"epoch": 3})
    assert "encode" in caught.value.hint


def test_a_save_that_fails_leaves_what_was_saved_before(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    checkpoint.save(b"before")
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    with pytest.raises(errors.StorageError, match="cannot be saved") as caught:
        checkpoint.save(folder)
    assert "still there" in caught.value.hint
    assert checkpoint.load() == b"before"
    assert [p.name for p in (tmp_path / "action").iterdir()] == ["1"]


def test_a_save_is_on_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    sync, rename = os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("sync"), sync(fd))[1])
    monkeypatch.setattr(
        Path, "rename", lambda self, to: (events.append("rename"), rename(self, to))[1]
    )
    Checkpoint(tmp_path / "home" / "careful", sync=True).save(b"state")
    assert events.index("rename") >= 2
    assert events[-1] == "sync"
    events.clear()
    Checkpoint(tmp_path / "home" / "careless", sync=False).save(b"state")
    assert events == ["rename"]


def test_threads_that_save_and_load_at_once_see_whole_checkpoints(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folders = []
    for number in range(3):
        folder = tmp_path / f"source-{number}"
        folder.mkdir()
        for part in range(5):
            (folder / str(part)).write_text(str(number))
        folders.append(folder)
    checkpoint.save(folders[0])
    wrong: list[object] = []

    def save() -> None:
        for _ in range(10):
            for folder in folders:
                checkpoint.save(folder)

    def load() -> None:
        while savers[0].is_alive() or savers[1].is_alive():
            kept = Checkpoint(checkpoint._folder, sync=False).load()
            parts = [p.read_text() for p in kept.iterdir()]
            if len(parts) != 5 or len(set(parts)) != 1:
                wrong.append(parts)

    savers = [threading.Thread(target=save) for _ in range(2)]
    for thread in savers:
        thread.start()
    load()
    for thread in savers:
        thread.join()
    assert wrong == []


def test_a_kill_at_any_step_of_a_save_leaves_the_one_before_or_the_one_after(
    tmp_path: Path,
) -> None:
    """The program kills a child of its own at each system call in turn, then loads."""
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for kind, found in told.items():
        assert set(found) == {"before", "after"}, kind
        assert found == sorted(found, reverse=True), kind
        assert len(found) > 5, kind


@pytest.mark.parametrize("kind", ["bytes", "file", "tree", "path"])
@pytest.mark.parametrize("harm", ["flipped", "renamed", "shortened", "digest"])
def test_what_is_not_what_was_saved_is_not_loaded(
    checkpoint: Checkpoint, tmp_path: Path, kind: str, harm: str
) -> None:
    source = checkpoint.path if kind == "path" else tmp_path / "source"
    for folder in (source / "a", source / "empty"):
        folder.mkdir(parents=True)
    (source / "a" / "b").write_bytes(b"content")
    (source / "link").symlink_to("a")
    saved = {"bytes": b"content", "file": source / "a" / "b"}.get(kind, source)
    checkpoint.save(saved)
    version = tmp_path / "action" / "1"
    (kept,) = (p for p in version.rglob("*") if p.is_file() and p.name != "digest")
    if harm == "flipped":
        kept.write_bytes(b"cOntent")
    elif harm == "renamed" and kind in ("tree", "path"):
        kept.rename(kept.with_name("c"))
    elif harm == "digest":
        (version / "digest").write_bytes(bytes(32))
    else:
        kept.write_bytes(b"")
    with pytest.raises(errors.BlobCorruptError, match="action/1 is damaged"):
        checkpoint.load()
    checkpoint.save(b"anew")
    assert checkpoint.load() == b"anew"


def test_the_latest_file_of_a_pattern_is_found(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    for number, name in enumerate(["b/last.ckpt", "a/last.ckpt", "a/epoch=9.ckpt"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (number, number))
    assert latest_checkpoint(tmp_path) == tmp_path / "a" / "last.ckpt"
    assert latest_checkpoint(str(tmp_path), "**/*.ckpt") == tmp_path / "a" / "epoch=9.ckpt"
    assert latest_checkpoint(tmp_path, key=str) == tmp_path / "b" / "last.ckpt"
