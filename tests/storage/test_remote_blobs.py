"""Blobs in a bucket: what is stored is there, what is read is whole, copies are only copies."""

import contextlib
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure._blobs import remote
from perdure._blobs.local import LocalBlobs
from perdure._blobs.opening import open_blobs
from perdure._blobs.remote import RemoteBlobs
from perdure._storage.location import locate
from perdure._storage.objects import Objects
from perdure.errors import BlobCorruptError, BlobMissingError, StorageUnavailableError
from storage.server import Bucket, Faults


def opened(bucket: Bucket, folder: Path) -> RemoteBlobs:
    blobs = open_blobs(folder, f"{bucket}/place")
    assert isinstance(blobs, RemoteBlobs)
    return blobs


def key(digest: bytes) -> str:
    return f"place/{digest.hex()[:2]}/{digest.hex()[2:]}"


def damage(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_no_url_is_the_local_folder_and_a_local_one_is_another(tmp_path: Path) -> None:
    for storage, folder in (("", "home"), (f"file://{tmp_path}/else", "else")):
        blobs = open_blobs(tmp_path / "home", storage)
        assert isinstance(blobs, LocalBlobs)
        assert blobs.where(bytes(32)).startswith(str(tmp_path / folder))


def test_a_blob_is_an_object_named_after_its_content(bucket: Bucket, tmp_path: Path) -> None:
    blobs = opened(bucket, tmp_path)
    digest = blobs.put([b"con", b"tent"])
    assert bucket.stored() == [key(digest)]
    assert bucket.content(key(digest)) == b"content"
    assert blobs.where(digest) == f"{bucket}/{key(digest)}"


def test_another_machine_reads_it_through_a_mapped_copy(bucket: Bucket, tmp_path: Path) -> None:
    digest = opened(bucket, tmp_path / "one").put([b"content"])
    there = opened(bucket, tmp_path / "other")
    view = there.get(digest)
    assert view == b"content"
    assert view.readonly
    assert isinstance(view.obj, mmap.mmap)
    private = there.get(digest, private=True)
    private[:1] = b"C"
    assert there.get(digest) == b"content"


def test_what_was_read_once_is_not_fetched_again(
    bucket: Bucket, faults: Faults, tmp_path: Path
) -> None:
    digest = opened(bucket, tmp_path / "one").put([b"content"])
    for _ in range(3):
        assert opened(bucket, tmp_path / "other").get(digest) == b"content"
    assert faults.count("GET") == 1


def test_what_is_stored_is_not_stored_again_by_this_process(
    bucket: Bucket, faults: Faults, tmp_path: Path
) -> None:
    blobs = opened(bucket, tmp_path)
    digest = blobs.put([b"content"])
    blobs.put([b"content"])
    blobs.put([blobs.get(digest)])
    assert faults.count("PUT") == 1


def test_large_content_that_another_process_stored_is_asked_for_not_sent(
    bucket: Bucket, faults: Faults, tmp_path: Path
) -> None:
    content = os.urandom(remote._ASKED_BYTES)
    opened(bucket, tmp_path / "one").put([content])
    opened(bucket, tmp_path / "other").put([content])
    assert faults.count("PUT") == 1


def test_a_copy_that_is_here_but_not_in_the_bucket_is_stored(
    bucket: Bucket, tmp_path: Path
) -> None:
    digest = LocalBlobs(tmp_path).put([b"content"])  # before the setting was changed
    blobs = opened(bucket, tmp_path)
    assert not blobs.has(digest)
    assert blobs.get(digest) == b"content"
    blobs.put([b"content"])
    assert bucket.stored() == [key(digest)]


def test_a_damaged_copy_is_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    digest = opened(bucket, tmp_path).put([b"content"])
    path = LocalBlobs(tmp_path).path(digest)
    damage(path)
    assert opened(bucket, tmp_path).get(digest) == b"content"
    assert path.read_bytes() == b"content"
    damage(path)
    with opened(bucket, tmp_path).open(digest) as file:
        assert file.read() == b"content"


def test_a_damaged_copy_is_never_sent(bucket: Bucket, tmp_path: Path) -> None:
    digest = LocalBlobs(tmp_path).put([b"content"])
    damage(LocalBlobs(tmp_path).path(digest))
    assert opened(bucket, tmp_path).put([b"content"]) == digest
    assert bucket.content(key(digest)) == b"content"


def test_a_damaged_object_is_named_and_not_returned(bucket: Bucket, tmp_path: Path) -> None:
    digest = opened(bucket, tmp_path / "one").put([b"content"])
    bucket.place(key(digest), b"contend")
    blobs = opened(bucket, tmp_path / "other")
    for read in (blobs.get, blobs.open):
        with pytest.raises(BlobCorruptError, match=f"{bucket}/place") as told:
            read(digest)
        assert "rerun" in told.value.hint
    assert files(tmp_path / "other") == []


@pytest.mark.parametrize("fault", ["flip", "cut"])
def test_what_is_damaged_on_its_way_is_never_returned(
    bucket: Bucket, faults: Faults, tmp_path: Path, fault: str
) -> None:
    content = os.urandom(200_000)
    digest = opened(bucket, tmp_path / "one").put([content])
    faults.plan = [("GET", fault)]
    blobs = opened(bucket, tmp_path / "other")
    try:
        assert blobs.get(digest) == content
    except BlobCorruptError:
        assert fault == "flip"
    assert blobs.get(digest) == content


def test_a_missing_object_is_named_with_the_setting(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(BlobMissingError, match="00" * 31) as told:
        opened(bucket, tmp_path).get(bytes(32))
    assert "PERDURE_STORAGE" in told.value.hint


def test_an_upload_that_fails_is_an_error_and_is_made_up_for_later(
    bucket: Bucket, faults: Faults, tmp_path: Path
) -> None:
    store = Objects("s3", bucket.name, patience=timedelta(milliseconds=200))
    blobs = RemoteBlobs(store, locate(bucket), tmp_path)
    faults.always = {"PUT": "500"}
    with pytest.raises(StorageUnavailableError):
        blobs.put([b"content"])
    assert not blobs.has(blake3(b"content").digest())
    faults.always = {}
    assert blobs.has(blobs.put([b"content"]))


def test_readers_of_one_blob_fetch_it_once(bucket: Bucket, faults: Faults, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    digest = opened(bucket, tmp_path / "one").put([content])
    faults.plan = [("GET", "hold before")]
    seen = []

    def read() -> None:
        seen.append(bytes(opened(bucket, tmp_path / "other").get(digest)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert faults.reached.wait(60)
    faults.go_on.set()
    for thread in threads:
        thread.join()
    assert seen == [content] * 4
    assert faults.count("GET") == 1


def test_what_is_written_piece_by_piece_is_sent_at_its_end(bucket: Bucket, tmp_path: Path) -> None:
    blobs = opened(bucket, tmp_path)
    sink = blobs.create()
    sink.write(b"con")
    sink.write(b"tent")
    assert bucket.stored() == []
    digest, size = sink.commit()
    assert size == 7
    assert bucket.content(key(digest)) == b"content"


FAULTS = st.tuples(
    st.sampled_from(["GET", "PUT", "HEAD"]),
    st.sampled_from(["500", "503", "drop", "lose", "cut", "flip", "slow"]),
)
USES = st.lists(
    st.tuples(
        st.sampled_from(["put", "get", "open", "damage"]), st.integers(0, 1), st.integers(0, 2)
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@given(plan=st.lists(FAULTS, max_size=3), uses=USES)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_goes_wrong_what_is_returned_is_whole_and_what_was_put_is_there(
    bucket: Bucket, faults: Faults, plan: list[tuple[str, str]], uses: list[tuple[str, int, int]]
) -> None:
    """Two machines, three contents. What was damaged on its way is an error, then it is well."""
    faults.plan = [*plan]
    with tempfile.TemporaryDirectory() as folder:
        machines = [opened(bucket, Path(folder, name)) for name in ("one", "other")]
        for verb, machine, which in uses:
            content = f"content {which} of {folder}".encode() * 1000
            digest = blake3(content).digest()
            blobs, copy = machines[machine], LocalBlobs(machines[machine]._folder)
            if verb == "put":
                assert blobs.put([content]) == digest
                assert bucket.content(key(digest)) == content
            elif verb == "damage" and copy.has(digest):
                damage(copy.path(digest))
            elif verb in ("get", "open"):
                with contextlib.suppress(
                    BlobMissingError, BlobCorruptError, *unsaid(bucket, digest)
                ):
                    assert read(blobs, digest, verb) == content
        assert whole(bucket, Path("/nowhere"))


def unsaid(bucket: Bucket, digest: bytes) -> tuple[type[Exception], ...]:
    """Return what may be raised where nothing is stored: the answer that says so may be cut."""
    stored = any(each.endswith(digest.hex()[2:]) for each in bucket.stored())
    return () if stored else (StorageUnavailableError,)


def read(blobs: RemoteBlobs, digest: bytes, verb: str) -> bytes:
    if verb == "get":
        return bytes(blobs.get(digest))
    with blobs.open(digest) as file:
        return file.read()


# --- kill -9 --------------------------------------------------------------------------------------

UPLOAD = """
import sys
from pathlib import Path
from perdure._blobs.opening import open_blobs
blobs = open_blobs(Path(sys.argv[1]), sys.argv[2] + "/place")
blobs.put([bytes(range(256)) * int(sys.argv[3])])
"""
DOWNLOAD = UPLOAD.replace(
    "blobs.put([bytes(range(256)) * int(sys.argv[3])])", "blobs.get(bytes.fromhex(sys.argv[3]))"
)


def killed(code: str, folder: Path, bucket: Bucket, argument: object, faults: Faults) -> None:
    """Run code until the proxy holds one of its requests, and kill it there."""
    process = subprocess.Popen([sys.executable, "-c", code, folder, bucket, str(argument)])
    try:
        assert faults.reached.wait(60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    faults.go_on.set()


def files(folder: Path) -> list[Path]:
    """Return the blobs in a folder; whatever else is there is nobody's."""
    return [path for path in folder.glob("??/*") if not path.name.startswith(".")]


def whole(bucket: Bucket, folder: Path) -> bool:
    """Whether everything that has a name is what it says, here and there."""
    named = [(path.parent.name + path.name, path.read_bytes()) for path in files(folder)]
    named += [(name[6:].replace("/", ""), bucket.content(name)) for name in bucket.stored()]
    return all(blake3(content).hexdigest() == name for name, content in named)


@pytest.mark.parametrize(
    ("repeats", "method", "earlier", "moment"),
    [
        (100, "PUT", 0, "hold before"),
        (100, "PUT", 0, "hold after"),
        (60_000, "PUT", 0, "hold before"),  # the first part
        (60_000, "PUT", 1, "hold after"),
        (60_000, "POST", 1, "hold before"),  # what makes the parts an object
        (60_000, "POST", 1, "hold after"),
    ],
)
def test_p3_killed_while_storing_nothing_partial_has_a_name(
    bucket: Bucket, faults: Faults, tmp_path: Path, repeats: int, method: str, earlier: int,
    moment: str,
) -> None:  # fmt: skip
    faults.plan = [(method, "")] * earlier + [(method, moment)]
    killed(UPLOAD, tmp_path, bucket, repeats, faults)
    assert whole(bucket, tmp_path)
    content = bytes(range(256)) * repeats
    digest = opened(bucket, tmp_path).put([content])
    assert bucket.content(key(digest)) == content


@pytest.mark.parametrize("moment", ["hold before", "hold within"])
def test_p3_killed_while_fetching_nothing_partial_has_a_name(
    bucket: Bucket, faults: Faults, tmp_path: Path, moment: str
) -> None:
    content = os.urandom(300_000)
    digest = opened(bucket, tmp_path / "one").put([content])
    faults.plan = [("GET", moment)]
    killed(DOWNLOAD, tmp_path / "other", bucket, digest.hex(), faults)
    assert files(tmp_path / "other") == []
    assert opened(bucket, tmp_path / "other").get(digest) == content
