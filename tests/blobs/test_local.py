import errno
import mmap
import os
import resource
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure._blobs import local
from perdure._blobs.local import LocalBlobs
from perdure.errors import BlobCorruptError, StorageError


def test_a_blob_is_a_read_only_file_named_after_its_content(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    digest = blobs.put([b"content"])
    path = tmp_path / digest.hex()[:2] / digest.hex()[2:]
    assert blobs.path(digest) == path
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_get_maps_the_file_and_nobody_can_write_to_the_file_through_it(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    digest = blobs.put([b"content"])
    view = blobs.get(digest)
    assert view.readonly
    assert isinstance(view.obj, mmap.mmap)
    with pytest.raises(TypeError, match="read-only"):
        memoryview(view.obj)[0:1] = b"X"


def test_a_private_view_may_be_written_to_and_nobody_else_sees_it(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    digest = blobs.put([b"content"])
    view = blobs.get(digest, private=True)
    view[0:1] = b"C"
    assert view == b"Content"
    assert blobs.path(digest).read_bytes() == b"content"
    assert blobs.get(digest) == blobs.get(digest, private=True) == b"content"
    assert blobs.put([view]) == blobs.put([b"Content"])


def test_what_was_mapped_is_stored_again_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = LocalBlobs(tmp_path / "one"), LocalBlobs(tmp_path / "other")
    digest = one.put([b"content"])
    view = one.get(digest)
    with monkeypatch.context() as patch:
        patch.setattr(local, "blake3_of", lambda views: pytest.fail("hashed"))
        assert one.put([view]) == digest
    assert other.put([view]) == digest
    assert other.path(digest).read_bytes() == b"content"


def test_a_part_of_what_was_mapped_is_another_blob(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    view = blobs.get(blobs.put([b"content"]))
    assert blobs.get(blobs.put([view[3:]])) == b"tent"
    assert blobs.get(blobs.put([view, view])) == b"contentcontent"


def test_a_blob_of_many_chunks_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    monkeypatch.setattr(local, "WRITE_CHUNK", 1000)
    monkeypatch.setattr(local, "begin_writeback", lambda _, *piece: begun.append(piece))
    content = os.urandom(2500)
    blobs = LocalBlobs(tmp_path)
    assert blobs.get(blobs.put([content[:1500], content[1500:]])) == content
    assert begun == [(0, 1000), (1000, 1500)]
    begun.clear()
    LocalBlobs(tmp_path / "careless", sync=False).put([content])
    assert begun == []


def test_a_blob_that_another_process_stored_is_synced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LocalBlobs(tmp_path, sync=False).put([b"content"])
    blobs = LocalBlobs(tmp_path)
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), sync(fd))[1])
    path = blobs.path(blobs.put([b"content"]))
    assert synced == [path.stat().st_ino, path.parent.stat().st_ino]
    blobs.put([b"content"])
    assert len(synced) == 2


def test_putting_a_stored_blob_again_does_not_write(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    digest = blobs.put([b"content"])
    before = blobs.path(digest).stat()
    assert blobs.put([b"con", b"tent"]) == digest
    assert blobs.path(digest).stat() == before


def test_a_blob_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path, sync=False)
    path = blobs.path(blobs.put([b"content"]))
    path.chmod(0o644)
    path.write_bytes(b"con")
    assert blobs.get(blobs.put([b"content"])) == b"content"


def test_concurrent_writers_of_one_blob_all_succeed(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path, sync=False)
    content = os.urandom(1 << 20)
    barrier = threading.Barrier(4)
    digests = []

    def put() -> None:
        barrier.wait()
        digests.append(blobs.put([content]))

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 4
    assert len(set(digests)) == 1
    assert blobs.get(digests[0]) == content
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [blobs.path(digests[0])]


def test_a_full_disk_is_a_storage_error_that_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        LocalBlobs(tmp_path).put([b"content"])
    assert str(tmp_path) in caught.value.message
    assert "free some space" in caught.value.hint
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_folder_that_cannot_be_made_is_a_storage_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written") as caught:
        LocalBlobs(tmp_path / "file" / "blobs").put([b"content"])
    assert str(tmp_path / "file") in caught.value.message


@pytest.mark.parametrize("put", ["whole", "in pieces"])
def test_a_large_blob_is_looked_at_only_if_somebody_wrote_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: str
) -> None:
    monkeypatch.setattr(local, "_VERIFIED_BYTES", 3)
    hashed = []
    take = local.blake3_of
    monkeypatch.setattr(local, "blake3_of", lambda views: (hashed.append(1), take(views))[1])
    blobs = LocalBlobs(tmp_path)
    if put == "whole":
        digest = blobs.put([b"content"])
    else:
        sink = blobs.create()
        sink.write(b"content")
        digest, _ = sink.commit()
    hashed.clear()
    assert LocalBlobs(tmp_path).get(digest) == b"content"
    assert hashed == []
    path = blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"contend")
    for reader in (blobs, LocalBlobs(tmp_path)):
        with pytest.raises(BlobCorruptError, match="damaged"):
            reader.get(digest)
    path.write_bytes(b"content")  # such as a copy from elsewhere
    assert LocalBlobs(tmp_path).get(digest) == b"content"


def test_content_that_is_stored_again_takes_the_place_of_what_was_damaged(tmp_path: Path) -> None:
    digest = LocalBlobs(tmp_path).put([b"content"])
    path = LocalBlobs(tmp_path).path(digest)
    path.chmod(0o644)
    path.write_bytes(b"contend")
    assert LocalBlobs(tmp_path).put([b"content"]) == digest
    assert LocalBlobs(tmp_path).get(digest) == b"content"


def test_a_view_that_somebody_wrote_to_is_not_stored_as_what_it_was(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    digest = blobs.put([b"content"])
    view = blobs.get(digest)
    path = blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"contend")
    with pytest.raises(BlobCorruptError, match=digest.hex()):
        blobs.put([view])


def test_a_crash_while_writing_leaves_no_blob_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobs(tmp_path)

    class Crash(BaseException):
        pass

    def crash(descriptor: int) -> None:
        raise Crash

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(Crash):
        blobs.put([b"content"])
    monkeypatch.undo()
    digest = blobs.put([b"content"])
    assert blobs.get(digest) == b"content"


def test_content_is_synced_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("sync"), sync(fd))[1])
    monkeypatch.setattr(os, "rename", lambda a, b: (events.append("rename"), rename(a, b))[1])
    blobs = LocalBlobs(tmp_path)
    blobs.put([b"content"])
    assert events[-3:] == ["sync", "rename", "sync"]
    events.clear()
    LocalBlobs(tmp_path / "careless", sync=False).put([b"content"])
    assert events == ["rename"]


@pytest.fixture
def files() -> Iterator[Callable[[int, int], None]]:
    """Sets how many files this process may open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft, hard: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_blobs_can_be_mapped_than_files_may_be_open_at_first(
    tmp_path: Path, files: Callable[[int, int], None]
) -> None:
    blobs = LocalBlobs(tmp_path, sync=False)
    digests = [blobs.put([b"%d" % i]) for i in range(300)]
    files(100, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    views = [blobs.get(digest) for digest in digests]
    assert [int(bytes(view)) for view in views] == [*range(300)]


def test_too_many_open_files_are_a_storage_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobs(tmp_path)
    digest = blobs.put([b"content"])

    def refuse(*arguments: object, **options: object) -> object:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(local, "_map", refuse)
    monkeypatch.setattr(local, "_allow_more_files", lambda: False)
    with pytest.raises(StorageError, match="Too many open files") as caught:
        blobs.get(digest)
    assert "ulimit" in caught.value.hint


def test_temporary_files_of_dead_writers_are_cleaned_after_a_day(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    folder = blobs.path(blobs.put([b"content"])).parent
    old, fresh = folder / ".tmp-1-old", folder / ".tmp-2-fresh"
    for path in (old, fresh):
        path.write_bytes(b"half")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    LocalBlobs(tmp_path).clean()
    assert not old.exists()
    assert fresh.exists()
