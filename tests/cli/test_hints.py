"""Text on the command line becomes what the type hint asks for, or an error that helps."""

import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import pathlib
import threading
import uuid
from typing import Annotated, Any, Literal, Optional

import pytest

from perdure.cli.hints import is_flag, reader


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


@dataclasses.dataclass
class Settings:
    rate: float
    layers: list[int] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "-3", -3),
        (float, "1e-3", 0.001),
        (str, "12", "12"),
        (Annotated[int, "in days"], "7", 7),
        (bytes, "abc", b"abc"),
        (pathlib.Path, "a/b", pathlib.Path("a/b")),
        (decimal.Decimal, "1.50", decimal.Decimal("1.50")),
        (dt.date, "2026-01-31", dt.date(2026, 1, 31)),
        (dt.datetime, "2026-01-31T12:30:00", dt.datetime(2026, 1, 31, 12, 30)),
        (dt.timedelta, "90", dt.timedelta(seconds=90)),
        (uuid.UUID, str(uuid.UUID(int=7)), uuid.UUID(int=7)),
        (Colour, "RED", Colour.RED),
        (Colour, "green", Colour.GREEN),
        (Colour, "g", Colour.GREEN),
        (Literal["fast", "slow"], "slow", "slow"),
        (Literal[1, 2], "2", 2),
        (Optional[int], "none", None),  # noqa: UP045  # the old spelling is a case of its own
        (int | None, "4", 4),
        (int | str, "4", 4),
        (int | str, "four", "four"),
        (str | int, "4", 4),
        (bool | str, "true", True),
        (list[int], "[1, 2]", [1, 2]),
        (dict[int, str], '{"1": "a"}', {1: "a"}),
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (set[int], "[1, 2]", {1, 2}),
        (Settings, '{"rate": 0.5, "layers": [1]}', Settings(0.5, [1])),
        (list[Colour], '["r"]', [Colour.RED]),
        (Any, "[1]", [1]),
        (Any, "hello", "hello"),
        (inspect.Parameter.empty, "3", 3),
    ],
)  # fmt: skip
def test_text_becomes_a_value_of_the_hinted_type(hint, text, value):
    parsed = reader(hint).parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("hint", "text", "complaint"),
    [
        (int, "three", "'three' is not a whole number"),
        (int | float, "x", "whole number.*not a number"),
        (Colour, "blue", "choose one of"),
        (Literal["fast", "slow"], "fats", "fast, slow"),
        (dt.date, "31.1.2026", "2026-01-31"),
        (list[int], "1,2", "not JSON"),
        (list[int], '["a"]', r"Expected `int`.*\$\[0\]"),
        (Settings, "{}", "rate"),
        (list[int], "@nowhere.json", "no file 'nowhere.json'"),
        (threading.Event, "1", "pass it from Python"),
        (list[list[int] | set[int]], "[]", "cannot be given as text"),
    ],
)
def test_text_that_does_not_fit_is_explained(hint, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        reader(hint).parse(text)


def test_compound_values_are_read_from_a_file(tmp_path):
    path = tmp_path / "months.json"
    path.write_text("[1, 2]")
    assert reader(list[int]).parse(f"@{path}") == [1, 2]
    assert reader(bytes).parse(f"@{path}") == b"[1, 2]"


def test_pydantic_models_are_built_and_their_complaints_shown():
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        n: int

    assert reader(list[Model]).parse('[{"n": 1}]') == [Model(n=1)]
    with pytest.raises(ValueError, match="valid integer"):
        reader(Model).parse('{"n": "x"}')


@pytest.mark.parametrize(
    ("hint", "flag"),
    [
        (bool, True),
        (bool | None, True),
        (Annotated[bool, "x"], True),
        (int, False),
        (bool | int, False),
    ],
)
def test_only_plain_booleans_are_flags(hint, flag):
    assert is_flag(hint) is flag


@pytest.mark.parametrize(
    ("hint", "text", "complaint"),
    [
        (Settings, '{"rate": 1, "layer": [3]}', r"no 'layer' - at `\$`; it has rate, layers"),
        (list[Settings], '[{"rate": 1}, {"rate": 1, "x": 2}]', r"no 'x' - at `\$\[1\]`"),
        (dict[str, Settings], '{"a": {"rate": 1, "x": 2}}', r"no 'x' - at `\$\.a`"),
    ],
)
def test_misspelt_names_in_json_are_not_ignored(hint, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        reader(hint).parse(text)
