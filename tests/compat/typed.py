"""Values of every first-class type, each with its hint; and one task for each hint.

``CASES`` maps a name to (hint, value). ``echo_<name>(value: hint) -> hint`` is a task, so every
value crosses the boundary twice, and is checked at the call, in the worker and on its return.
"""

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import pathlib
import sys
import typing
import uuid
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Optional, Union

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:
    from typing_extensions import TypedDict

import perdure

env = perdure.TaskEnvironment("types")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Row(TypedDict):
    name: str
    tags: list[str]


@dataclass
class Config:
    rate: float
    layers: list[int]
    weights: np.ndarray
    parent: Optional["Config"] = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and same(
            dataclasses.astuple(self), dataclasses.astuple(other)
        )


@dataclass(frozen=True, slots=True)
class Frozen:
    key: str
    when: dt.datetime


class Model(pydantic.BaseModel):
    size: int = 3
    colour: Colour = Colour.RED
    limits: dict[str, float] = {}
    nested: Optional["Model"] = None


class Plain:
    """A class of the user that nothing is known about."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and self.value == other.value

    def __repr__(self) -> str:
        return f"Plain({self.value})"


def double(x: int) -> int:
    return 2 * x


def same(a: object, b: object) -> bool:
    """Whether two values are equal in type and content, through containers and arrays."""
    if isinstance(a, memoryview) or isinstance(b, memoryview):
        return bytes(a) == bytes(b)  # it arrives as bytes
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray) and a.dtype != object:
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, np.ndarray):
        return same(a.tolist(), b.tolist())
    if isinstance(a, pd.DataFrame | pd.Series | pa.Table | pl.DataFrame | pl.Series):
        return bool(a.equals(b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Exception):
        return a.args == b.args
    if isinstance(a, functools.partial):
        return (a.func, a.args, a.keywords) == (b.func, b.args, b.keywords)
    return a == b or a is b or a != a


STRUCTURED = np.array([(1, 2.5, b"ab")], dtype=[("i", "<i4"), ("f", "<f8"), ("s", "S2")])
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=pd.Index([10, 20], name="id"))

CASES: dict[str, tuple[Any, Any]] = {
    "none": (None, None),
    "bool": (bool, True),
    "int": (int, -5),
    "huge_int": (int, 10**400),
    "float": (float, 0.1),
    "nan": (float, float("nan")),
    "complex": (complex, 1 - 2j),
    "str": (str, "naïve 🙂 \ud800"),
    "bytes": (bytes, b"\x00\xff"),
    "bytearray": (bytearray, bytearray(b"ab")),
    "memoryview": (memoryview, memoryview(b"ab")),
    "list": (list[int], [1, 2]),
    "bare_list": (list, [1, "a", None]),
    "nested": (dict[str, list[tuple[int, str | None]]], {"a": [(1, None), (2, "b")]}),
    "tuple": (tuple[int, str], (1, "a")),
    "long_tuple": (tuple[int, ...], (1, 2, 3)),
    "dict": (dict[tuple[int, str], float], {(1, "a"): 1.0}),
    "set": (set[int], {1, 2}),
    "frozenset": (frozenset[str], frozenset({"a"})),
    "sequence": (Sequence[int], (1, 2)),
    "mapping": (Mapping[str, int], {"a": 1}),
    "optional": (Optional[int], None),  # noqa: UP045  # people write it
    "union": (Union[int, str], "a"),  # noqa: UP007
    "new_union": (int | list[str] | None, ["a"]),
    "literal": (Literal["a", 1, Colour.RED], Colour.RED),
    "any": (Any, {"a": [1, (2,)]}),
    "enum": (Colour, Colour.BLUE),
    "int_enum": (Level, Level.HIGH),
    "flag": (Rights, Rights.READ | Rights.WRITE),
    "naive": (dt.datetime, dt.datetime(2024, 1, 2, 3, 4, 5, 6)),
    "aware": (dt.datetime, dt.datetime(2024, 1, 2, tzinfo=dt.UTC)),
    "offset": (dt.datetime, dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2)))),
    "zone": (dt.datetime, dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN)),
    "date": (dt.date, dt.date(2024, 2, 29)),
    "time": (dt.time, dt.time(1, 2, 3, 4)),
    "timedelta": (dt.timedelta, dt.timedelta(-1, 2, 3)),
    "zoneinfo": (zoneinfo.ZoneInfo, BERLIN),
    "decimal": (decimal.Decimal, decimal.Decimal("0.10")),
    "fraction": (fractions.Fraction, fractions.Fraction(1, 3)),
    "uuid": (uuid.UUID, uuid.UUID(int=5)),
    "path": (pathlib.Path, pathlib.Path("a/b")),
    "pure_path": (pathlib.PureWindowsPath, pathlib.PureWindowsPath("c:/a")),
    "named_tuple": (Point, Point(1, 2.0)),
    "typed_dict": (Row, {"name": "a", "tags": ["b"]}),
    "dataclass": (Config, Config(0.1, [1], np.arange(3), Config(1.0, [], np.zeros((2, 0))))),
    "frozen": (Frozen, Frozen("a", dt.datetime(2024, 1, 1))),
    "model": (Model, Model(nested=Model(size=1, limits={"a": 1.0}))),
    "models": (dict[str, list[Model]], {"a": [Model()]}),
    "array": (np.ndarray, np.arange(6, dtype="float32").reshape(2, 3)),
    "zero_d": (np.ndarray, np.array(5)),
    "structured": (np.ndarray, STRUCTURED),
    "datetime64": (np.ndarray, np.array(["2024-01-01", "NaT"], dtype="datetime64[ns]")),
    "strided": (np.ndarray, np.arange(10)[::3]),
    "fortran": (np.ndarray, np.asfortranarray(np.arange(6).reshape(2, 3))),
    "objects": (np.ndarray, np.array([1, "a", None], dtype=object)),
    "numpy_scalar": (np.float32, np.float32(1.5)),
    "numpy_bool": (np.bool_, np.True_),
    "dtype": (np.dtype, np.dtype("<i4")),
    "frame": (pd.DataFrame, FRAME),
    "series": (pd.Series, FRAME["b"]),
    "categories": (pd.Series, pd.Series(["a", "b", "a"], dtype="category")),
    "table": (pa.Table, pa.table({"a": [1, None], "b": [["x"], []]})),
    "polars": (pl.DataFrame, pl.DataFrame({"a": [1, None], "b": ["x", "y"]})),
    "polars_series": (pl.Series, pl.Series("s", [dt.date(2024, 1, 1)])),
    "callable": (Callable[[int], int], double),
    "class": (type[Plain], Plain),
    "builtin": (Callable[..., int], len),
    "partial": (functools.partial, functools.partial(double, x=2)),
    "exception": (Exception, KeyError("a", 1)),
    "ellipsis": (Any, ...),
    "range": (range, range(0, 10, 3)),
    "slice": (Any, slice(1, None)),
    "user_class": (Plain, Plain(3)),
}

WRONG: dict[str, Any] = {
    "none": 0,
    "bool": 1,
    "int": 1.0,
    "float": "0.1",
    "complex": "1j",
    "str": b"a",
    "bytes": "a",
    "bytearray": b"a",
    "list": [1, "2"],
    "nested": {"a": [(1, None), (2, 3)]},
    "tuple": (1,),
    "long_tuple": (1, "2"),
    "dict": {(1, 2): 1.0},
    "set": [1],
    "frozenset": {"a"},
    "optional": "a",
    "union": 1.5,
    "new_union": ["a", 1],
    "literal": "b",
    "enum": "blue",
    "int_enum": 2,
    "flag": 3,
    "naive": "2024-01-01",
    "date": "2024-01-01",
    "timedelta": 5,
    "decimal": 0.1,
    "uuid": "5",
    "path": "a/b",
    "named_tuple": (1, 2.0),
    "typed_dict": {"name": "a"},
    "dataclass": {"rate": 0.1},
    "model": {"size": "large"},
    "models": {"a": [Model(), None]},
    "array": [1, 2],
    "numpy_scalar": 1.5,
    "frame": {"a": [1]},
    "series": [1],
    "table": FRAME,
    "polars": FRAME,
    "callable": 5,
    "class": Plain(1),
    "exception": "a",
    "user_class": 3,
}


def _echo(name: str, hint: Any) -> "perdure.Task[..., Any]":
    def echo(value):
        return value

    echo.__name__ = echo.__qualname__ = f"echo_{name}"
    echo.__annotations__ = {"value": hint, "return": hint}
    return env.task(echo)


ECHOES = {name: _echo(name, hint) for name, (hint, _) in CASES.items()}
globals().update({f"echo_{name}": task for name, task in ECHOES.items()})


@env.task
def all_kinds(a: int, /, b: float = 2, *rest: str, c: Point = Point(1), **more: list[int]) -> list:  # noqa: B008
    return [a, b, rest, c, more]


@env.task
def defaults(
    a: Config = CASES["dataclass"][1],
    b: int = None,  # noqa: RUF013  # people write it
    c: Colour = Colour.RED,
) -> list:
    return [a, b, c]


@env.task
def unannotated(a, b=(1, 2), *args, **kwargs):
    return a, b, args, kwargs


@env.task
def wrapped(items: list[Any], table: dict[str, Any], pair: tuple[Any, Any]) -> Any:
    return [items, table, pair]


@env.task
def closure() -> int:
    step = 3
    return apply(lambda x: x + step, 4)


@env.task
def apply(function: Callable[[int], int], x: int) -> int:
    return function(x)


@env.task
async def call_everything() -> dict[str, str]:
    """Send every value there and back; return what did not survive."""
    futures = {name: ECHOES[name].aio(value) for name, (_, value) in CASES.items()}
    lost = {}
    for name, future in futures.items():
        try:
            found = await future
        except Exception as error:
            lost[name] = f"{type(error).__name__}: {error}"
        else:
            if not same(found, CASES[name][1]):
                lost[name] = f"{found!r} is not {CASES[name][1]!r}"
    return lost


@env.task
async def wrap_everything() -> list[str]:
    """Send every value inside containers."""
    futures = {
        name: wrapped.aio([value, value], {"k": value}, (value, [value]))
        for name, (_, value) in CASES.items()
    }
    return [
        name
        for name, future in futures.items()
        if not same(
            await future,
            [[v := CASES[name][1], v], {"k": v}, (v, [v])],
        )
    ]


@env.task
async def forms() -> list:
    return [
        await all_kinds.aio(1),
        await all_kinds.aio(1, 3, "x", "y", c=Point(2), d=[1], e=[]),
        await unannotated.aio(1, 2, 3, k=4),
        await defaults.aio(),
        await closure.aio(),
        typing.cast("Any", await apply.aio(functools.partial(pow, 2), 5)),
    ]
