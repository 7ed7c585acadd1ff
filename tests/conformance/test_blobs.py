"""What every adapter of the Blobs port does."""

from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure._blobs.local import LocalBlobs
from perdure._blobs.memory import MemoryBlobs
from perdure._blobs.opening import open_blobs
from perdure._ports import Blobs
from perdure.errors import BlobMissingError


@pytest.fixture(params=["local", "memory", "remote"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "local":
        return LocalBlobs(tmp_path / "blobs")
    if request.param == "memory":
        return MemoryBlobs()
    return open_blobs(tmp_path / "copies", request.getfixturevalue("bucket"))


def test_what_was_put_is_got_back_read_only(blobs: Blobs) -> None:
    view = blobs.get(blobs.put([b"some ", memoryview(b"content")]))
    assert view == b"some content"
    assert view.readonly


@given(parts=st.lists(st.binary(max_size=50), max_size=5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_digest_is_blake3_of_the_concatenation(blobs: Blobs, parts: list[bytes]) -> None:
    content = b"".join(parts)
    digest = blobs.put(parts)
    assert digest == blake3(content).digest()
    assert blobs.get(digest) == content


def test_the_empty_blob_is_a_blob(blobs: Blobs) -> None:
    digest = blobs.put([])
    assert blobs.has(digest)
    assert blobs.get(digest) == b""


def test_large_content_comes_back_whole(blobs: Blobs) -> None:
    content = bytes(range(256)) * (1 << 14)
    assert blobs.get(blobs.put([content[:1000], content[1000:]])) == content


def test_has_tells_what_is_stored(blobs: Blobs) -> None:
    digest = blake3(b"later").digest()
    assert not blobs.has(digest)
    blobs.put([b"later"])
    assert blobs.has(digest)


def test_a_missing_blob_is_named_with_a_hint(blobs: Blobs) -> None:
    with pytest.raises(BlobMissingError) as caught:
        blobs.get(bytes(32))
    assert "00" * 31 in caught.value.message
    assert caught.value.hint


def test_a_view_outlives_the_store_it_came_from(blobs: Blobs) -> None:
    view = blobs.get(blobs.put([b"content"]))
    del blobs
    assert view == b"content"


def test_parts_of_any_item_size_are_stored_as_bytes(blobs: Blobs) -> None:
    numbers = memoryview(b"\1\0\0\0\2\0\0\0").cast("i")
    assert blobs.get(blobs.put([numbers])) == bytes(numbers)


@given(parts=st.lists(st.binary(max_size=50), max_size=5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_piece_by_piece_is_the_same_blob(blobs: Blobs, parts: list[bytes]) -> None:
    sink = blobs.create()
    assert [sink.write(part) for part in parts] == [*map(len, parts)]
    content = b"".join(parts)
    assert sink.digest == blake3(content).digest()
    assert sink.commit() == (blobs.put(parts), len(content))
    assert blobs.get(sink.digest) == content


def test_what_was_aborted_is_not_stored_and_what_was_committed_stays(blobs: Blobs) -> None:
    sink = blobs.create()
    sink.write(b"given up")
    sink.abort()
    assert not blobs.has(blake3(b"given up").digest())
    sink = blobs.create()
    sink.write(b"kept")
    digest, _ = sink.commit()
    sink.abort()
    assert blobs.get(digest) == b"kept"


def test_an_open_blob_is_read_like_a_file(blobs: Blobs) -> None:
    with blobs.open(blobs.put([b"first\nsecond\n"])) as file:
        assert file.readline() == b"first\n"
        assert file.read() == b"second\n"
        file.seek(1)
        assert file.read(4) == b"irst"


def test_opening_a_missing_blob_names_it(blobs: Blobs) -> None:
    with pytest.raises(BlobMissingError, match="00" * 31):
        blobs.open(bytes(32))


def test_every_blob_has_a_place(blobs: Blobs) -> None:
    one, other = blobs.put([b"one"]), blobs.put([b"other"])
    assert one.hex()[2:] in blobs.where(one) != blobs.where(other)
