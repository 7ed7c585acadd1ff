"""What a cache key says of inputs: their digests do not depend on how a value got there."""

import dataclasses

import pytest

from perdure import _serde
from perdure._blobs.memory import MemoryBlobs
from perdure._core.model import InputMark


class Future(_serde.Deferred):
    def __init__(self, action: bytes) -> None:
        self.action_id = action


@dataclasses.dataclass
class Month:
    number: int
    flights: list[bytes]


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


def marks(
    blobs: MemoryBlobs, values: dict[bytes, object] | None = None, **inputs: object
) -> dict[str, InputMark]:
    known = {id_: _serde.dumps(value, blobs).data for id_, value in (values or {}).items()}
    found = _serde.input_marks(_serde.dumps(inputs, blobs).data, blobs, values=known)
    assert found is not None
    return found


VALUES = [
    3,
    2**80,
    "text",
    b"bytes",
    b"long" * 50_000,
    [1, 2.5, None],
    list(range(50_000)),
    {"b": 1, "a": {2, 3}},
    {1: "x"},
    (1, "two"),
    {"x", "y", "z"},
    Month(3, [b"AA", b"BB"]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_the_digest_of_an_input_does_not_depend_on_the_others(
    blobs: MemoryBlobs, value: object
) -> None:
    alone = marks(blobs, x=value)["x"]
    assert marks(blobs, x=value, y=(1, 2))["x"] == alone
    assert marks(blobs, y=2**80, x=value, z="a" * 100_000)["x"] == alone


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_future_counts_as_its_value(blobs: MemoryBlobs, value: object) -> None:
    id_ = b"f" * 16
    assert marks(blobs, {id_: value}, x=Future(id_)) == marks(blobs, x=value)
    nested = marks(blobs, {id_: value}, x=[1, Future(id_)])
    assert nested == marks(blobs, x=[1, value])


def test_different_values_have_different_digests(blobs: MemoryBlobs) -> None:
    digests = [marks(blobs, x=value)["x"].digest for value in VALUES]
    assert len(set(digests)) == len(VALUES)


def test_equal_dicts_and_sets_have_equal_digests_whatever_their_order(blobs: MemoryBlobs) -> None:
    one, other = {"a": 1, "b": {3, 1, 2}}, {"b": {2, 3, 1}, "a": 1}
    assert marks(blobs, x=one)["x"].digest == marks(blobs, x=other)["x"].digest


def test_ignored_inputs_are_left_out(blobs: MemoryBlobs) -> None:
    data = _serde.dumps({"x": 1, "stamp": 2}, blobs).data
    found = _serde.input_marks(data, blobs, ignored=("stamp",))
    assert found is not None
    assert list(found) == ["x"]


def test_pictures_show_values(blobs: MemoryBlobs) -> None:
    id_ = b"f" * 16
    found = marks(
        blobs, {id_: [1, 2]}, x=Future(id_), y="text", z=Month(3, []), nested=[0, Future(id_)]
    )
    assert [mark.preview for mark in found.values()] == [
        "[1, 2]", "'text'", "Month(number=3, flights=[])", "[0, [1, 2]]",
    ]  # fmt: skip


class Odd:
    """Something that is pickled."""

    def __init__(self, inside: object) -> None:
        self.inside = inside


@pytest.mark.filterwarnings("ignore::perdure.PickledValueWarning")
def test_a_future_inside_a_pickle_cannot_be_seen(blobs: MemoryBlobs) -> None:
    id_ = b"f" * 16
    data = _serde.dumps({"x": Odd(Future(id_))}, blobs)
    assert data.needs == (id_,)
    known = {id_: _serde.dumps(1, blobs).data}
    assert _serde.input_marks(data.data, blobs, values=known) is None
