"""What every store does, and how local files and buckets tell of trouble."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from perdure._storage import objects
from perdure._storage.files import Files
from perdure._storage.location import Location, locate
from perdure._storage.objects import Objects
from perdure._storage.store import Store, open_store
from perdure.errors import (
    ConfigurationError,
    FileMissingError,
    StorageAccessError,
    StorageError,
    StorageUnavailableError,
)
from storage.server import Bucket, Faults, free_port


@pytest.fixture(params=["files", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "files":
        return locate(tmp_path / "place")
    return locate(request.getfixturevalue("bucket") + "/place")


@pytest.fixture
def store(place: Location) -> Store:
    return open_store(place)


def content(store: Store, key: str) -> bytes:
    return b"".join(bytes(piece) for piece in store.read(key))


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_what_was_written_is_read_back(store: Store, place: Location, size: int) -> None:
    key = place.below("folder/a b.csv").path
    data = os.urandom(size)
    store.write(key, data)
    assert content(store, key) == data
    assert store.size(key) == size


def test_what_is_written_again_is_replaced(store: Store, place: Location, tmp_path: Path) -> None:
    key = place.below("a").path
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    store.write(key, b"before")
    store.write(key, source)
    assert content(store, key) == b"from a file"


def test_large_content_goes_and_comes_in_parts(
    store: Store, place: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(12 << 20))
    monkeypatch.setattr(objects, "PART_BYTES", 5 << 20)  # S3 takes no smaller ones
    monkeypatch.setattr(objects, "PARALLEL", 2)
    key = place.below("large").path
    store.write(key, source)
    assert content(store, key) == source.read_bytes()


def test_keys_below_a_folder_are_listed(store: Store, place: Location) -> None:
    names = ["a", "b/c", "b/d/e"]
    for name in (*names, "bb/f"):
        store.write(place.below(name).path, b"x")
    found = {key.removeprefix(place.path + "/") for key in store.keys(place.path)}
    assert found == {*names, "bb/f"}
    assert len([*store.keys(place.below("b").path)]) == 2


def test_what_is_missing_is_said_with_its_place(store: Store, place: Location) -> None:
    key = place.below("missing").path
    assert store.size(key) is None
    with pytest.raises(FileMissingError, match="place/missing"):
        content(store, key)
    with pytest.raises(FileNotFoundError):
        content(store, key)


# --- local files ----------------------------------------------------------------------------------


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("x")
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "circle").symlink_to(tmp_path / "top")
    assert [*Files().keys(str(tmp_path / "top"))] == [str(tmp_path / "top/link/file")]


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(ConfigurationError, match="folder" if kind == "folder" else "regular"):
        content(Files(), str(path))


def test_a_file_is_not_listed_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="not a folder"):
        list(Files().keys(str(tmp_path / "file")))


def test_unreadable_files_are_told_apart_from_missing_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageAccessError, match="cannot be read: Permission denied"):
        content(Files(), str(tmp_path / "secret"))


def test_a_file_is_never_half_written_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"before")
    source = tmp_path / "source"
    source.write_bytes(b"after")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(StorageError, match="No space left") as told:
        Files().write(str(target), source)
    assert "free some space" in told.value.hint
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_local_files_need_no_obstore(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["obstore"] = None
from perdure.io import File
assert File.from_local_sync({__file__!r}).size
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PERDURE_HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- buckets in trouble ---------------------------------------------------------------------------


def impatient(bucket: Bucket) -> Objects:
    return Objects("s3", bucket.name, patience=timedelta(milliseconds=300))


@pytest.mark.parametrize("fault", ["500", "503", "drop"])
def test_failing_requests_are_tried_again(bucket: Bucket, faults: Faults, fault: str) -> None:
    store = open_store(locate(bucket))
    faults.plan = [("PUT", fault), ("GET", fault), ("HEAD", fault)]
    store.write("key", b"content")
    assert content(store, "key") == b"content"
    assert store.size("key") == 7
    assert faults.plan == []


def test_an_upload_whose_answer_is_lost_is_made_again(bucket: Bucket, faults: Faults) -> None:
    faults.plan = [("PUT", "lose")]
    open_store(locate(bucket)).write("key", b"content")
    assert faults.count("PUT") == 2
    assert bucket.content("key") == b"content"


@pytest.mark.parametrize("size", [100_000, 11 << 20])
def test_a_connection_cut_within_an_object_is_made_up_for(
    bucket: Bucket, faults: Faults, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PART_BYTES", 4 << 20)
    data = os.urandom(size)
    bucket.place("key", data)
    faults.plan = [("GET", "cut"), ("GET", "cut")]
    assert content(open_store(locate(bucket)), "key") == data
    assert faults.plan == []


def test_slow_answers_are_waited_for(bucket: Bucket, faults: Faults) -> None:
    bucket.place("key", b"x" * 100_000)
    faults.plan = [("GET", "slow")]
    assert content(open_store(locate(bucket)), "key") == b"x" * 100_000


@pytest.mark.parametrize("fault", ["500", "drop", "cut"])
def test_what_goes_on_failing_is_a_storage_error_that_may_be_retried(
    bucket: Bucket, faults: Faults, fault: str
) -> None:
    bucket.place("key", b"content" * 1000)
    faults.always = {"GET": fault}
    with pytest.raises(StorageUnavailableError, match=f"{bucket}/key cannot be read") as told:
        content(impatient(bucket), "key")
    assert told.value.retryable
    assert "endpoint" in told.value.hint


def test_a_server_that_is_not_there_is_named(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(StorageUnavailableError, match="cannot be written"):
        impatient(bucket).write("key", b"content")
    assert time.monotonic() - began < 50  # which the default patience is not


def test_wrong_credentials_are_said_to_be_that(bucket: Bucket, faults: Faults) -> None:
    faults.always = {"GET": "403", "PUT": "403", "HEAD": "403"}
    store = open_store(locate(bucket))
    for use in (lambda: content(store, "key"), lambda: store.write("key", b"x")):
        with pytest.raises(StorageAccessError, match="with these credentials") as told:
            use()
        assert "AWS_ACCESS_KEY_ID" in told.value.hint
    with pytest.raises(PermissionError):
        store.size("key")
    assert len(faults.seen) == 3  # trying again would not help


def test_a_bucket_that_does_not_exist_is_named(bucket: Bucket) -> None:
    store = open_store(locate("s3://no-such-bucket"))
    with pytest.raises(FileMissingError, match="no bucket no-such-bucket"):
        store.write("key", b"x")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ConfigurationError, match="needs the package obstore") as told:
        open_store(locate("gs://bucket"))
    assert "perdure[s3]" in told.value.hint


def test_a_large_object_that_is_replaced_while_it_is_read_is_not_a_mixture(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PART_BYTES", 1000)
    monkeypatch.setattr(objects, "PARALLEL", 2)
    bucket.place("key", b"a" * 4000)
    read = open_store(locate(bucket)).read("key")
    next(read)
    bucket.place("key", b"b" * 4000)
    with pytest.raises(StorageUnavailableError, match="replaced while it was read"):
        list(read)


FORK = """
import os, sys
from perdure._storage.location import locate
from perdure._storage.store import open_store
store = open_store(locate(sys.argv[1]))
store.write("key", b"content")
if os.fork() == 0:
    for use in (lambda: store.size("key"), lambda: open_store(locate(sys.argv[1]))):
        try:
            use()
        except OSError as error:
            print(error.code, "spawn" in error.hint, flush=True)
    os._exit(0)
os.wait()
"""


def test_a_forked_child_says_that_it_cannot_instead_of_waiting_for_ever(bucket: Bucket) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, bucket], capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.stdout == "storage_unavailable True\n" * 2, done.stderr


def test_a_provider_that_lacks_a_setting_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("AZURE_"):
            monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match="az://container cannot be used") as told:
        open_store(locate("az://container"))
    assert "AZURE_STORAGE_ACCOUNT_NAME" in told.value.hint
