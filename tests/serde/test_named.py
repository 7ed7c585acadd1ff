"""Values that go by a name: to everybody who gets one it is the value."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from perdure import _serde
from perdure._blobs.memory import MemoryBlobs
from perdure._serde.format import POINTER
from perdure._serde.references import Artifact, Future, Holding, references
from perdure.io import DataFrame, Dir, File


class Published(_serde.Named):
    """A value with a name."""

    def __init__(self, value: object, blobs: MemoryBlobs) -> None:
        self._blobs = blobs
        self._stored = _serde.store(_serde.dumps(value, blobs), blobs)

    label = "flights@3"

    @property
    def stored(self) -> _serde.Encoded:
        return self._stored

    def value(self) -> object:
        return _serde.loads(self._stored.data, self._blobs)


class Question(_serde.Named):
    """What finds one."""

    def __init__(self, answer: Published) -> None:
        self.resolved = lambda: answer  # type: ignore[method-assign]


VALUES = [
    None, 7, "text", [1, {"a": (2, 3)}], {1, 2}, b"x" * 100_000, np.arange(20_000),
    pa.table({"a": range(10)}), {"nested": [np.arange(3), {"b": {4}}]},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_named_value_is_known_as_its_value(value: object, blobs: MemoryBlobs) -> None:
    named = Published(value, blobs)
    assert named.stored.data[0] == POINTER
    for plain, by_name in ((value, named), ({"x": value}, {"x": named}), ([value], [named])):
        asked = _serde.dumps(by_name, blobs)
        assert asked.digest == _serde.dumps(plain, blobs).digest
        assert set(named.stored.blobs) <= set(asked.blobs)
        assert repr(_serde.loads(asked.data, blobs)) == repr(plain)
        assert _serde.preview(asked.data).strip("{}[]x:' ") == "flights@3"


def test_large_plain_data_is_known_by_its_digest(blobs: MemoryBlobs) -> None:
    large = list(range(100_000))
    first, second = Published(large, blobs), Published(large, blobs)
    asked = _serde.dumps({"x": first}, blobs)
    assert len(asked.data) < 500
    assert asked.digest == _serde.dumps({"x": second}, blobs).digest
    assert asked.digest != _serde.dumps({"x": Published(large[1:], blobs)}, blobs).digest
    assert _serde.loads(asked.data, blobs) == {"x": large}


def test_a_question_is_answered_when_it_is_encoded(blobs: MemoryBlobs) -> None:
    asked = _serde.dumps({"x": Question(Published(7, blobs))}, blobs)
    assert _serde.loads(asked.data, blobs) == {"x": 7}


def test_type_hints_are_checked_against_the_value(blobs: MemoryBlobs) -> None:
    named = Published([1, 2], blobs)
    assert _serde.checker(list[int])(named) is named
    assert _serde.checker(list[list[int]])([named]) == [named]
    assert _serde.checker(float)(Published(3, blobs)) == 3.0
    with pytest.raises(_serde.Mismatch, match="expected str, got list"):
        _serde.checker(str)(named)


def test_a_named_value_of_a_named_value_is_the_value(blobs: MemoryBlobs) -> None:
    twice = Published(Published({1, 2}, blobs), blobs)
    assert twice.value() == {1, 2}
    assert twice.stored.digest == _serde.dumps({1, 2}, blobs).digest


class Pending(_serde.Deferred):
    action_id = b"f" * 16


def test_references_are_found_without_decoding(blobs: MemoryBlobs) -> None:
    array = np.arange(20_000)
    named = Published(math.pi, blobs)
    value = {"a": [array, {"b": named}], "c": (Pending(), 1), "d": {2}}
    found = references(_serde.dumps(value, blobs).data)
    assert [type(each) for each in found] == [Holding, Artifact, Future]
    held, artifact, future = found
    assert isinstance(held, Holding)
    assert held.label == "ndarray int64 (20000,)"
    assert held.blobs == _serde.dumps(array, blobs).blobs
    assert (_serde.loads(held.node, blobs) == array).all()
    assert artifact == Artifact("flights@3", named.stored.blobs[-1])
    assert future == Future(b"f" * 16)


def test_files_folders_and_tables_are_referred_to_by_their_blobs(
    blobs: MemoryBlobs, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    large, small = (pa.table({"n": range(size)}) for size in (100_000, 3))
    values = [
        File.from_local_sync(tmp_path / "a"), Dir.from_local_sync(tmp_path), DataFrame(large),
        DataFrame(small),
    ]  # fmt: skip
    encoded = _serde.dumps(values, blobs)
    file, folder, table = references(encoded.data)
    held = [each.blobs for each in (file, folder, table) if isinstance(each, Holding)]
    assert [len(each) for each in held] == [1, 2, 1]
    assert {blob for each in held for blob in each} == set(encoded.blobs)
    assert file.label.startswith("File(name='a'")  # type: ignore[union-attr]
    assert table.label.startswith("DataFrame 100,000 rows x 1 columns")  # type: ignore[union-attr]


def test_references_in_a_blob_are_found_if_it_may_be_read(blobs: MemoryBlobs) -> None:
    encoded = _serde.dumps([Published(1, blobs), "x" * 100_000], blobs)
    assert [type(each) for each in references(encoded.data)] == [Holding]
    assert [type(each) for each in references(encoded.data, blobs)] == [Artifact, Holding]


@pytest.mark.parametrize("data", [b"", b"\1\xc1", b"\2\x00", b"\7abc"])
def test_bytes_that_are_no_value_refer_to_nothing(data: bytes) -> None:
    assert references(data) == []
