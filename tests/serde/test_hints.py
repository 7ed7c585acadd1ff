"""Type hints that travel as values."""

import enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from perdure._blobs.memory import MemoryBlobs
from perdure._serde import hints


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@pytest.mark.parametrize(
    "hint",
    [
        bool, str, Any, Path, Colour, int | None, str | Path, list[int], dict[str, list[float]],
        tuple[int, ...], Literal["a", 2], Literal[Colour.RED], list[Literal["x"] | None],
    ],
    ids=str,
)  # fmt: skip
def test_a_hint_comes_back_as_it_was(hint: object) -> None:
    blobs = MemoryBlobs()
    assert hints.load_hint(hints.dump_hint(hint, blobs).data, blobs) == hint


def test_what_is_annotated_is_left_out() -> None:
    blobs = MemoryBlobs()
    hint = Annotated[int, "in metres"]
    assert hints.load_hint(hints.dump_hint(hint, blobs).data, blobs) is int


@pytest.mark.parametrize("nothing", ["bool", 3, Literal], ids=str)
def test_what_is_no_type_is_refused(nothing: object) -> None:
    with pytest.raises(TypeError, match="is no type"):
        hints.dump_hint(nothing, MemoryBlobs())


def test_only_plain_hints_import_nothing() -> None:
    blobs = MemoryBlobs()
    assert hints.is_plain(hints.dump_hint(Literal["a", "b"], blobs).data)
    assert not hints.is_plain(hints.dump_hint(Colour, blobs).data)


def test_few_values_are_listed() -> None:
    assert hints.choices_of(bool) == ["true", "false"]
    assert hints.choices_of(Literal["a", 2]) == ["a", "2"]
    assert hints.choices_of(Colour) == ["RED", "BLUE"]
    assert hints.choices_of(int | None) == []
