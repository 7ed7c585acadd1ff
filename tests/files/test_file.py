"""File: what is made from a file is a copy of it, known by its content."""

import asyncio
import contextlib
import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from blake3 import blake3

from perdure._blobs.local import LocalBlobs
from perdure.errors import (
    BlobCorruptError,
    BlobMissingError,
    ConfigurationError,
    FileMissingError,
    NotSupportedError,
    StorageAccessError,
)
from perdure.io import File, HashFunction
from perdure.io._hashing_io import HashlibAccumulator, PrecomputedValue
from storage.server import Bucket


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERDURE_DURABILITY", "process")
    return tmp_path / "home"


def made(folder: Path, content: bytes = b"content", name: str = "data.csv") -> File:
    path = folder / name
    path.write_bytes(content)
    return File.from_local_sync(path)


def read(file: File) -> bytes:
    with file.open_sync("rb") as handle:
        return handle.read()


def test_the_original_may_go() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = made(Path(folder))
        existing = File.from_existing_remote(f"{folder}/data.csv")
        built = File(path=f"{folder}/data.csv")
    assert read(file) == read(existing) == read(built) == b"content"
    assert file.exists_sync()


def test_a_later_change_of_the_original_changes_nothing(tmp_path: Path) -> None:
    file = made(tmp_path)
    (tmp_path / "data.csv").write_bytes(b"other")
    assert read(file) == b"content"


def test_it_knows_its_name_size_digest_and_place(tmp_path: Path, home: Path) -> None:
    file = made(tmp_path)
    assert (file.name, file.size, file.format, file.hash) == ("data.csv", 7, "", None)
    assert file.digest == blake3(b"content").hexdigest()
    assert Path(file.path).read_bytes() == b"content"
    assert Path(file.path).is_relative_to(home / "blobs")
    assert repr(file) == f"<File 'data.csv', 7 bytes, {file.digest[:12]}>"


def test_p5_equal_content_is_equal_whatever_it_is_called(tmp_path: Path) -> None:
    one, other = made(tmp_path), made(tmp_path, name="other.csv")
    assert one == other
    assert len({one, other}) == 1
    assert one != made(tmp_path, b"else")
    assert one != "data.csv"


def test_empty_and_large_files_are_files(tmp_path: Path) -> None:
    assert read(made(tmp_path, b"")) == b""
    content = os.urandom(9 << 20)
    assert read(made(tmp_path, content)) == content


def test_every_method_has_an_awaitable_form(tmp_path: Path) -> None:
    asyncio.run(use_all(tmp_path))


async def use_all(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"a\nb\n")
    file = await File.from_local(tmp_path / "data.csv")
    async with file.open("rb") as handle:
        assert await handle.read(1) == b"a"
        await handle.seek(0)
        assert [line async for line in handle] == [b"a\n", b"b\n"]
    assert await file.exists()
    target = await file.download(tmp_path / "copy")
    assert Path(target).read_bytes() == b"a\nb\n"
    new = File.new_remote("new.txt")
    async with new.open("w") as handle:
        await handle.write("first\n")
        await handle.writelines(["second\n"])
    async with new.open("r") as handle:
        assert await handle.readline() == "first\n"
        assert await handle.readlines() == ["second\n"]


# --- writing --------------------------------------------------------------------------------------


def test_a_new_file_is_written_and_then_has_content() -> None:
    file = File.new("out.bin")
    assert not file.exists_sync()
    assert repr(file) == "<File 'out.bin', still to be written>"
    with file.open_sync("wb") as handle:
        assert handle.write(b"one") == 3
        assert handle.tell() == 3
        handle.write(b"two")
    assert (read(file), file.name, file.size) == (b"onetwo", "out.bin", 6)


def test_text_is_written_and_read_with_its_encoding() -> None:
    file = File.new()
    with file.open_sync("w", encoding="latin-1") as handle:
        handle.write("gr\u00fc\u00dfe\n")
    assert read(file) == b"gr\xfc\xdfe\n"
    with file.open_sync("r", encoding="latin-1") as handle:
        assert handle.read() == "gr\u00fc\u00dfe\n"


def test_appending_makes_new_content_and_keeps_the_old_elsewhere(tmp_path: Path) -> None:
    file = made(tmp_path)
    other = pickle.loads(pickle.dumps(file))
    for mode, more in (("ab", b"+"), ("a", "-")):
        with file.open_sync(mode) as handle:
            handle.write(more)
    assert read(file) == b"content+-"
    assert read(other) == b"content"
    fresh = File.new()
    with fresh.open_sync("ab") as handle:
        handle.write(b"first")
    assert read(fresh) == b"first"


def test_a_block_that_ends_with_an_error_leaves_the_file_as_it_was(
    tmp_path: Path, home: Path
) -> None:
    file = made(tmp_path)
    with contextlib.suppress(KeyError), file.open_sync("wb") as handle:
        handle.write(b"half")
        raise KeyError
    assert read(file) == b"content"
    assert [*home.rglob(".tmp-*")] == []


def test_a_file_closed_within_its_block_is_stored() -> None:
    file = File.new()
    with file.open_sync("wb") as handle:
        handle.write(b"content")
        handle.close()
    assert read(file) == b"content"


def test_using_what_was_never_written_says_so() -> None:
    file = File.new("out")
    for use in (lambda: read(file), lambda: file.size, lambda: file.download_sync()):
        with pytest.raises(TypeError, match="nothing has been written to the file 'out'"):
            use()


# --- hashes ---------------------------------------------------------------------------------------


def test_a_hash_of_its_maker_stands_for_the_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"written at 10:00")
    other.write_bytes(b"written at 11:00")
    assert File.from_local_sync(one, hash_method="v1") == File.from_existing(str(other), "v1")
    assert File.from_local_sync(one, hash_method="v1") != File.from_local_sync(one)


def test_a_hash_method_reads_along(tmp_path: Path) -> None:
    class Sha:
        def __init__(self) -> None:
            self.sha = hashlib.sha256()

        def update(self, data: object) -> None:
            self.sha.update(data)  # type: ignore[arg-type]

        def result(self) -> str:
            return self.sha.hexdigest()

    content = os.urandom(5 << 20)
    (tmp_path / "data").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert File.from_local_sync(tmp_path / "data", hash_method=Sha()).hash == expected
    new = File.new(hash_method=Sha())
    with new.open_sync("wb") as handle:
        handle.write(content)
    assert new.hash == expected
    length = HashFunction.from_fn(lambda data: str(len(data)))
    assert made(tmp_path, b"12345").hash is None
    assert File.from_local_sync(tmp_path / "data.csv", hash_method=length).hash == "5"


def test_hash_methods_as_flyte_has_them(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    known = File.from_local_sync(tmp_path / "data", hash_method=PrecomputedValue("v1"))
    assert known.hash == "v1"
    assert known == File.from_local_sync(tmp_path / "data", hash_method="v1")
    counted = HashlibAccumulator.from_hash_name("sha256")
    read = File.from_local_sync(tmp_path / "data", hash_method=counted)
    assert read.hash == hashlib.sha256(b"abc").hexdigest()


# --- downloading ----------------------------------------------------------------------------------


def test_a_download_is_a_file_of_ones_own(tmp_path: Path) -> None:
    file = made(tmp_path)
    target = file.download_sync(tmp_path / "deep" / "copy.csv")
    assert target == str(tmp_path / "deep" / "copy.csv")
    Path(target).write_bytes(b"changed")
    assert read(file) == b"content"


def test_a_download_into_a_folder_keeps_the_name(tmp_path: Path) -> None:
    file = made(tmp_path)
    (tmp_path / "there").mkdir()
    assert file.download_sync(tmp_path / "there") == str(tmp_path / "there" / "data.csv")
    assert file.download_sync(f"{tmp_path}/new/") == str(tmp_path / "new" / "data.csv")


def test_downloads_without_a_path_have_the_name_and_do_not_meet(tmp_path: Path) -> None:
    file = made(tmp_path)
    one, other = file.download_sync(), file.download_sync()
    assert one != other
    assert Path(one).name == Path(other).name == "data.csv"


def test_a_copy_elsewhere_is_made_on_demand(tmp_path: Path, bucket: Bucket) -> None:
    (tmp_path / "data").write_bytes(b"content")
    for place in (f"{tmp_path}/copies/data", f"{bucket}/copies/data"):
        file = File.from_local_sync(tmp_path / "data", place)
        assert read(file) == b"content"
    assert (tmp_path / "copies/data").read_bytes() == b"content"
    assert bucket.content("copies/data") == b"content"


# --- existing objects -----------------------------------------------------------------------------


def test_an_existing_object_is_copied_when_it_is_needed(bucket: Bucket) -> None:
    file = File.from_existing_remote(f"{bucket}/a/data.csv")
    assert not file.exists_sync()
    bucket.place("a/data.csv", b"content")
    assert file.exists_sync()
    assert file.path == f"{bucket}/a/data.csv"
    assert read(file) == b"content"
    bucket.place("a/data.csv", b"other")
    assert read(file) == b"content"
    assert (file.name, file.size) == ("data.csv", 7)


def test_p5_where_content_came_from_does_not_matter(bucket: Bucket, tmp_path: Path) -> None:
    bucket.place("somewhere", b"content")
    assert File.from_existing(f"{bucket}/somewhere") == made(tmp_path)


# --- bad input ------------------------------------------------------------------------------------


def test_missing_files_are_named(tmp_path: Path, bucket: Bucket) -> None:
    with pytest.raises(FileMissingError, match=r"there is no .*/missing"):
        File.from_local_sync(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        read(File(path=str(tmp_path / "missing")))
    with pytest.raises(FileMissingError, match=f"{bucket}/missing"):
        read(File.from_existing(f"{bucket}/missing"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="folder") as told:
        File.from_local_sync(tmp_path)
    assert "perdure.io.Dir" in told.value.hint


def test_an_unreadable_file_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    opened = os.open

    def refuse(name: object, *arguments: object) -> int:
        if str(name) == str(path):
            raise PermissionError(13, "Permission denied")
        return opened(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageAccessError, match="secret cannot be read"):
        File.from_local_sync(path)


@pytest.mark.parametrize(
    "use",
    [
        lambda file: file.open_sync("rb", compression="gzip").__enter__(),
        lambda file: file.open_sync("rb", encoding="utf-8").__enter__(),
        lambda file: File.from_local_sync("x", chunk_size=5),
    ],
)
def test_options_without_meaning_are_refused_by_name(use, tmp_path: Path) -> None:
    with pytest.raises(NotSupportedError, match=r"compression|encoding|chunk_size"):
        use(made(tmp_path))


@pytest.mark.parametrize("mode", ["x", "r+", "rbt", "", "wb+"])
def test_unknown_modes_are_refused(mode: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened with mode"):
        made(tmp_path).open_sync(mode).__enter__()


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../b"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="leads out"):
        File.new(name)


def test_a_changed_or_removed_blob_is_named_and_not_returned(tmp_path: Path, home: Path) -> None:
    content = os.urandom(100_000)
    file = made(tmp_path, content)
    path = LocalBlobs(home / "blobs").path(bytes.fromhex(file.digest))
    path.chmod(0o644)
    path.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    for use in (read, lambda file: file.download_sync(tmp_path / "copy")):
        with pytest.raises(BlobCorruptError, match=file.digest[2:]):
            use(file)
    assert not (tmp_path / "copy").exists()
    path.unlink()
    assert not file.exists_sync()
    with pytest.raises(BlobMissingError, match=file.digest):
        read(file)


def test_a_large_file_is_looked_at_as_a_whole_before_it_is_read(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure._blobs.local._VERIFIED_BYTES", 10)
    file = made(tmp_path, b"x" * 1000)
    path = LocalBlobs(home / "blobs").path(bytes.fromhex(file.digest))
    path.chmod(0o644)
    path.write_bytes(b"x" * 999 + b"y")
    with pytest.raises(BlobCorruptError):
        read(file)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told in KiB")
def test_content_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as large:
        large.truncate(100 << 20)
    code = f"""
import resource
from perdure.io import File
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
file = File.from_local_sync({str(tmp_path / "large")!r})
new = File.new()
with new.open_sync("wb") as target, open({str(tmp_path / "large")!r}, "rb") as source:
    while piece := source.read(1 << 20):
        target.write(piece)
assert new == file
new.path and __import__("os").unlink(new.path)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PERDURE_DURABILITY": "process"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 40
