# ruff: noqa: UP007, UP045 - old spellings of hints are hints, too
import collections.abc as abc
import dataclasses
import enum
import pathlib
import sys
import typing
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from pydantic import BaseModel

from perdure._serde import Deferred, Mismatch, checker


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Config:
    rate: float


class Model(BaseModel):
    a: int


@dataclasses.dataclass
class Nested:
    configs: list[Config]
    model: "Model | None" = None
    seen: int = dataclasses.field(default=0, init=False)


@dataclasses.dataclass
class Picky:
    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("negative")


class Options(TypedDict):
    depth: int
    rate: NotRequired[float]


class Sized(Protocol):
    def size(self) -> int: ...


@typing.runtime_checkable
class Closable(Protocol):
    def close(self) -> None: ...


UserId = NewType("UserId", int)
Any_ = TypeVar("Any_")
Number = TypeVar("Number", int, float)
Bound = TypeVar("Bound", bound=Config)
CONFIG, MODEL, GENERATOR = Config(1), Model(a=1), (x for x in "ab")

ACCEPTED = [
    (int, 5),
    (int, True),
    (float, 1.5),
    (bool, False),
    (str, "a"),
    (bytes, b"a"),
    (None, None),
    (object, object()),
    (Any, CONFIG),
    (list, [1, "a"]),
    (list[int], [1, 2]),
    (list[Any], [1, "a"]),
    (dict[str, list[int]], {"a": [1]}),
    (set[int], {1}),
    (frozenset[str], frozenset("a")),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (tuple[()], ()),
    (Optional[int], None),
    (int | None, 3),
    (Union[int, str], "a"),
    (Literal["a", 1], 1),
    (Annotated[int, "x"], 1),
    (Annotated[int, {"un": "hashable"}], 1),
    (UserId, 5),
    (Any_, "x"),
    (Number, 2.5),
    (Bound, CONFIG),
    (abc.Sequence[int], [1]),
    (abc.Sequence[int], range(3)),
    (abc.Sequence[str], "ab"),
    (abc.Mapping[str, int], {"a": 1}),
    (abc.Iterable[int], (1, 2)),
    (abc.Iterable[str], GENERATOR),
    (abc.Iterator[str], GENERATOR),
    (abc.Callable[[int], int], len),
    (type[BaseException], KeyError),
    (type, int),
    (Config, CONFIG),
    (Model, MODEL),
    (Colour, Colour.RED),
    (Options, {"depth": 1}),
    (Options, {"depth": 1, "rate": 2.5}),
    (Sized, object()),
    (Closable, sys.stdin),
    (pathlib.Path, pathlib.Path("x")),
    (pathlib.Path, pathlib.PurePosixPath("x")),
    (np.ndarray, np.zeros(2)),
    (npt.NDArray[np.float64], np.zeros(2)),
    (pd.DataFrame, pd.DataFrame()),
    ("Unknown", 5),
    (list["Unknown"], [5]),  # type: ignore[name-defined]  # noqa: F821
    (typing.ForwardRef("Unknown"), 5),
]


@pytest.mark.parametrize(("hint", "value"), ACCEPTED, ids=[str(hint)[:40] for hint, _ in ACCEPTED])
def test_what_fits_comes_back_as_the_same_object(hint: Any, value: Any) -> None:
    assert checker(hint)(value) is value


@pytest.mark.parametrize(
    ("hint", "value", "result"),
    [
        (float, 1, 1.0),
        (complex, 2, 2 + 0j),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (dict[float, str], {1: "a"}, {1.0: "a"}),
        (tuple[float, ...], (1,), (1.0,)),
        (tuple[str, float], ("a", 1), ("a", 1.0)),
        (Optional[float], 3, 3.0),
        (list[float] | None, [1], [1.0]),
        (set[float], {1}, {1.0}),
        (abc.Sequence[float], [1], [1.0]),
        (Options, {"depth": 1, "rate": 2}, {"depth": 1, "rate": 2.0}),
        (int, np.int64(5), 5),
        (float, np.float32(1.5), 1.5),
        (float, np.float64(1.5), 1.5),
        (float, np.int8(2), 2.0),
        (bool, np.True_, True),
        (list[int], [np.int64(5)], [5]),
        (int | str, np.int64(5), 5),
    ],
    ids=str,
)
def test_numbers_are_coerced_to_what_the_hint_says(hint: Any, value: Any, result: Any) -> None:
    found = checker(hint)(value)
    assert found == result
    assert repr(found) == repr(result)


@pytest.mark.parametrize(
    ("hint", "value"),
    [(int | float, 1), (float | int, 1), (list[float] | list[int], [1]), (str | float, 1.5)],
)
def test_a_union_prefers_a_member_that_fits_as_it_is(hint: Any, value: Any) -> None:
    assert checker(hint)(value) is value


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, "5", "expected int, got str '5'"),
        (int, 1.0, "expected int, got float 1.0"),
        (bool, 1, "expected bool, got int 1"),
        (float, "x", "expected float, got str 'x'"),
        (float, 10**400, "too large for a float"),
        (str, None, "expected str, got NoneType None"),
        (None, 0, "expected None, got int 0"),
        (list[int], (1,), "expected list[int], got tuple (1,)"),
        (list[int], [1, 2, "a"], "[2]: expected int, got str 'a'"),
        (list[list[int]], [[1], [None]], "[1][0]: expected int, got NoneType None"),
        (dict[str, list[int]], {"a": ["b"]}, "['a'][0]: expected int, got str 'b'"),
        (dict[str, int], {1: 1}, "{1}: expected str, got int 1"),
        (set[int], {"a"}, "{'a'}: expected int, got str 'a'"),
        (tuple[int, str], (1, 2), "[1]: expected str, got int 2"),
        (tuple[int, str], (1,), "(1 items, not 2)"),
        (Optional[int], "a", "expected int | None, got str 'a'"),
        (Optional[list[int]], ["a"], "[0]: expected int, got str 'a'"),
        (Literal["a", "b"], "c", "expected Literal['a', 'b'], got str 'c'"),
        (Literal[1], True, "expected Literal[1], got bool True"),
        (abc.Sequence[int], {1}, "expected Sequence[int], got set {1}"),
        (type[ValueError], KeyError, "expected type[ValueError]"),
        (abc.Callable[[int], int], 5, "expected Callable, got int 5"),
        (pathlib.Path, "x", "got str 'x' (write Path(...))"),
        (Model, {"a": "x"}, "Model, got dict {'a': 'x'} (a: Input should be a valid integer"),
        (Model, {}, "(a: Field required)"),
        (Config, {"rte": 1.0}, "Config, got dict {'rte': 1.0} (it has no rte)"),
        (Config, {}, "(missing rate)"),
        (Config, {"rate": "x"}, "['rate']: expected float, got str 'x'"),
        (Nested, {"configs": [{"rate": None}]}, "['configs'][0]['rate']: expected float"),
        (Picky, {"size": -1}, "(negative)"),
        (Config | Model, {"c": 1}, "Model, got dict {'c': 1}"),
        (Colour, 1, "Colour, got int 1"),
        (Options, {"depth": "a"}, "['depth']: expected int, got str 'a'"),
        (Options, {}, "missing depth"),
        (Options, {"depth": 1, "x": 2}, "unknown x"),
        (Closable, 5, "Closable, got int 5"),
        (Number, "a", "expected"),
        (pd.DataFrame, [1], "DataFrame, got list [1]"),
        (npt.NDArray[np.float64], [1.0], "ndarray"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_what_does_not_fit_is_said_precisely(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(Mismatch) as caught:
        checker(hint)(value)
    assert message in str(caught.value)


def test_dicts_become_the_classes_that_are_asked_for() -> None:
    future = Deferred()
    assert checker(Config)({"rate": 1}) == Config(1.0)
    assert checker(Model)({"a": 1}) == Model(a=1)
    assert checker(list[Config])([{"rate": 0.5}, Config(1.0)]) == [Config(0.5), Config(1.0)]
    given = {"configs": [{"rate": 1}], "model": {"a": 2}}
    assert checker(Nested)(given) == Nested([Config(1.0)], Model(a=2))
    assert checker(Config)({"rate": future}).rate is future  # type: ignore[attr-defined]
    assert checker(dict[str, int] | Config)({"rate": 1}) == {"rate": 1}
    assert checker(Config | Model)({"a": 1}) == Model(a=1)


def test_futures_pass_unchecked_everywhere() -> None:
    future = Deferred()
    for hint, value in [(int, future), (list[int], [1, future]), (dict[str, int], {"a": future})]:
        assert checker(hint)(value) is value
    assert checker(list[float])([future, 1]) == [future, 1.0]
    assert checker(tuple[int, float])((future, 1)) == (future, 1.0)
    assert checker(int | str)(future) is future


def test_iterators_are_not_consumed() -> None:
    numbers = iter([1, 2])
    checker(abc.Iterable[str])(numbers)
    assert [*numbers] == [1, 2]


def test_a_checker_is_compiled_once() -> None:
    assert checker(dict[str, list[int]]) is checker(dict[str, list[int]])


def test_long_values_are_shortened() -> None:
    with pytest.raises(Mismatch) as caught:
        checker(int)("x" * 10_000)
    assert len(caught.value.value) <= 100


if sys.version_info >= (3, 12):  # the type statement is new there

    def test_an_alias_may_refer_to_itself() -> None:
        scope: dict[str, Any] = {}
        exec("type Tree = int | list[Tree]", scope)
        check = checker(scope["Tree"])
        value = [1, [2, [3]]]
        assert check(value) is value
        with pytest.raises(Mismatch):
            check([1, ["a"]])
        exec("type Pair[T] = tuple[T, T]", scope)
        assert checker(scope["Pair"][int])((1, 2)) == (1, 2)
        with pytest.raises(Mismatch):
            checker(scope["Pair"][int])((1, "a"))
