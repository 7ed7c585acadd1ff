"""Values of all first-class types, nested at random, and rebuilt in other ways that are equal.

A recipe says what a value is. Building it needs a second source of chance, which decides what must
not matter: the order in which dicts and sets are filled, the memory layout of arrays, how tables
are cut into chunks, how files are made and what they are called. Files are kept in PERDURE_HOME.
Started as a script, it prints the digests of the values of some seeds; with ``tensors``, torch's
tensors are among what they are made of.
"""

import collections
import dataclasses
import datetime as dt
import enum
import json
import pathlib
import random
import sys
import tempfile
import types
import uuid
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from pydantic import BaseModel

from perdure._blobs.memory import MemoryBlobs
from perdure._serde import dumps
from perdure.io import ARROW, PARQUET, DataFrame, Dir, File

SEEDS = 300
DEPTH = 3

Value = Any
Order = random.Random


class Recipe(NamedTuple):
    """What a value is: of which kind, which of these, and of what it is made."""

    kind: str
    number: int
    parts: tuple["Recipe", ...]


class Colour(enum.Enum):
    RED = "red"
    BLUE = (0, 0, 255)


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Plain:
    a: Any
    b: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: Any
    b: Any = 0


class Struct(msgspec.Struct):
    a: Any
    b: Any = None


class Model(BaseModel):
    a: Any = None
    b: Any = None


class Pair(NamedTuple):
    first: Any
    second: Any


def function(x: int) -> int:
    return x


TEXTS = ["", "a", "ä", "text", "日本", "\U0001f600", "nul\0", "lone \ud800", "x" * 70_000]
FLOATS = [0.0, -0.0, 1.5, float("inf"), float("nan"), 1e300, 5e-324]
ZONES = [None, dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=30)), dt.UTC]
SINGLES: list[Value] = [
    *[None, True, False, 0, 1, -1, 2**63, -(2**63), 2**64, 10**40, 255, *FLOATS, *TEXTS],
    *[
        b"",
        b"bytes",
        bytes(range(256)),
        b"large" * 20_000,
        bytearray(b"array"),
        1j,
        complex(-0.0, 2),
    ],
    *[Decimal("1.10"), Decimal("NaN"), Decimal("-0"), Fraction(1, 3), uuid.UUID(int=7)],
    *[
        pathlib.PurePosixPath("a/b"),
        pathlib.PureWindowsPath("c:/d"),
        range(0, 9, 2),
        slice(1, None),
    ],
    *[dt.date(2024, 2, 29), dt.time(12, 30, fold=1), dt.timedelta(-1, 5), dt.UTC],
    *[
        dt.datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=zone)
        for zone in ZONES
        for fold in (0, 1)
    ],
    *[zoneinfo.ZoneInfo("Europe/Berlin"), dt.datetime.max, Colour.RED, Colour.BLUE, Mode.READ],
    *[Mode.READ | Mode.WRITE, Mode(0), int, dict, Plain, Colour, function, len, ..., np.float32],
    *[np.float64(1.5), np.int8(-3), np.True_, np.datetime64("2020-01-01"), np.dtype("<f4")],
]
"""Values without parts."""

HASHABLE = [i for i, value in enumerate(SINGLES) if not isinstance(value, bytearray | slice)]


# --- recipes --------------------------------------------------------------------------------------


def recipe(chance: random.Random, depth: int = DEPTH) -> Recipe:
    """Return what some value is."""
    kinds = [*SCALARS, *ARRAYS, *(CONTAINERS if depth else ())]
    kind = kinds[chance.randrange(len(kinds))]
    count = chance.randrange(5) if kind in CONTAINERS else 0
    make = _hashable if kind in ("set", "frozenset") else recipe
    parts = tuple(make(chance, depth - 1) for _ in range(count))
    return Recipe(kind, chance.randrange(1000), parts)


def _hashable(chance: random.Random, depth: int) -> Recipe:
    if depth <= 0 or chance.randrange(3):
        return Recipe("hashable", chance.randrange(1000), ())
    kind = ("tuple", "frozenset")[chance.randrange(2)]
    count = chance.randrange(4)
    return Recipe(kind, 0, tuple(_hashable(chance, depth - 1) for _ in range(count)))


def build(what: Recipe, order: Order) -> Value:
    """Return the value that a recipe is of; ``order`` decides what is no part of the value."""
    parts = [build(part, order) for part in what.parts]
    return {**SCALARS, **ARRAYS, **CONTAINERS}[what.kind](what.number, parts, order)


def shuffled(items: list[Any], order: Order) -> list[Any]:
    items = [*items]
    order.shuffle(items)
    return items


# --- containers -----------------------------------------------------------------------------------


def unequal(items: list[Any]) -> list[Any]:
    """Return the items without those that equal an earlier one: 1 and True are one key."""
    return [*dict.fromkeys(items)]


def texts(number: int, parts: list[Value], order: Order) -> dict[str, Value]:
    return dict(shuffled([(f"{number % 7}{i}", part) for i, part in enumerate(parts)], order))


def keyed(number: int, parts: list[Value], order: Order) -> dict[Any, Value]:
    keys = [SINGLES[HASHABLE[(number + 7 * i) % len(HASHABLE)]] for i in range(len(parts))]
    pairs = dict(zip(keys, parts, strict=True))
    return dict(shuffled([*pairs.items()], order))


def two(cls: Callable[..., Value]) -> Callable[[int, list[Value], Order], Value]:
    """Return what makes a record of the first two parts."""
    return lambda number, parts, order: cls(*[*parts, number][:2])


def model(number: int, parts: list[Value], order: Order) -> Model:
    fields = dict(zip("ab", parts[:2], strict=False))
    return Model(**dict(shuffled([*fields.items()], order)))


Maker = Callable[[int, list[Value], Order], Value]

CONTAINERS: dict[str, Maker] = {
    "list": lambda n, parts, order: parts,
    "tuple": lambda n, parts, order: tuple(parts),
    "set": lambda n, parts, order: {*shuffled(unequal(parts), order)},
    "frozenset": lambda n, parts, order: frozenset(shuffled(unequal(parts), order)),
    "dict": texts,
    "keyed dict": keyed,
    "ordered dict": lambda n, parts, order: collections.OrderedDict(enumerate(parts)),
    "default dict": lambda n, parts, order: collections.defaultdict(list, texts(n, parts, order)),
    "counter": lambda n, parts, order: collections.Counter(
        shuffled([word for i in range(len(parts)) for word in f"{n}"[: i + 1]], order)
    ),
    "deque": lambda n, parts, order: collections.deque(parts, 9 if n % 2 else None),
    "namespace": lambda n, parts, order: types.SimpleNamespace(
        **{f"a{key}": part for key, part in texts(n, parts, order).items()}
    ),
    "dataclass": two(Plain),
    "frozen dataclass": two(Frozen),
    "struct": two(Struct),
    "model": model,
    "named tuple": lambda n, parts, order: Pair(*[*parts, n, n][:2]),
    "object array": lambda n, parts, order: np.fromiter([*parts, n], object, len(parts) + 1),
}


# --- numbers and tables ---------------------------------------------------------------------------

DTYPES = ["?", "i1", "u2", "<i4", ">i4", "f2", "f4", "f8", "c8", "M8[us]", "m8[s]", "U3", "S4"]
SHAPES = [(), (0,), (3,), (2, 0), (2, 3), (7, 5), (130, 131)]


def array(number: int, parts: list[Value], order: Order) -> Value:
    """Return an array: in C or Fortran order, reversed, or with gaps."""
    dtype, shape = DTYPES[number % len(DTYPES)], SHAPES[number // 13 % len(SHAPES)]
    count = int(np.prod(shape))
    plain = (np.arange(count) * (number % 11 + 1) % 251).astype("i8")
    content = plain.astype(dtype).reshape(shape)
    layout = order.randrange(4)
    if layout == 1 and shape:
        return np.asfortranarray(content)
    if layout == 2 and shape:
        return content[::-1].copy()[::-1]
    if layout == 3 and shape:
        return np.repeat(content, 2, axis=0)[::2]
    return content


def structured(number: int, parts: list[Value], order: Order) -> Value:
    dtype = np.dtype([("a", "i1"), ("b", "f8"), ("c", "U2")], align=True)
    rows = np.frombuffer(order.randbytes(3 * dtype.itemsize), dtype).copy()
    rows["a"], rows["b"], rows["c"] = number % 100, number / 7, "ab"
    return rows


ROWS = 6
WORDS = ["x", None, "", "text", "日本", "a long text, not inlined"]


def columns(number: int) -> dict[str, list[Any]]:
    """Return some columns of a table."""
    whole: dict[str, list[Any]] = {
        "int": [number, None, 3, -4, 0, 2**40],
        "float": [0.5, None, number / 3, 1e300, -0.0, 2.0],
        "bool": [True, None, False, True, True, False],
        "text": WORDS[number % ROWS :] + WORDS[: number % ROWS],
        "bytes": [b"", None, b"x", b"yy", bytes(20), b"z"],
        "date": [dt.date(2020, 1, 1 + number % 20), None, *[dt.date(2021, 1, 1)] * 4],
        "time": [dt.datetime(2020, 1, 1, number % 24), None, *[dt.datetime(2021, 1, 1)] * 4],
        "list": [[1], None, [], [number, None], [2, 3], []],
        "struct": [{"k": 1, "m": "x"}, None, {"k": None, "m": ""}, *[{"k": number, "m": None}] * 3],
    }
    names = [name for i, name in enumerate(whole) if number >> i & 1]
    count = 0 if number % 10 == 9 else ROWS
    return {name: whole[name][:count] for name in names}


EMPTY = pa.schema(
    [
        ("int", pa.int64()), ("float", pa.float64()), ("bool", pa.bool_()), ("text", pa.string()),
        ("bytes", pa.binary()), ("date", pa.date32()), ("time", pa.timestamp("us")),
        ("list", pa.list_(pa.int64())),
        ("struct", pa.struct([("k", pa.int64()), ("m", pa.string())])),
    ]
)  # fmt: skip


def table(number: int, parts: list[Value], order: Order) -> Any:
    """Return an Arrow table, whole or cut into chunks, or out of the middle of a larger one."""
    found = columns(number)
    schema = pa.schema([EMPTY.field(name) for name in found])
    whole = pa.table(found, schema)
    cut = order.randrange(ROWS)
    layout = order.randrange(3)
    if layout == 1:
        return pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])
    if layout == 2 and whole.num_rows:
        return pa.concat_tables([whole, whole]).combine_chunks().slice(ROWS)
    return whole


def arrow_array(number: int, parts: list[Value], order: Order) -> Any:
    found = table(number | 1, parts, order)
    return found.column(number % found.num_columns).combine_chunks()


def frame(number: int, parts: list[Value], order: Order) -> pd.DataFrame:
    """Return a pandas frame, its columns in one block or in several."""
    content = {
        "i": np.arange(ROWS) * number,
        "j": np.arange(ROWS)[::-1] - number,
        "f": np.array([0.5, np.nan, number, -0.0, 1.0, 2.0]),
        "t": pd.array(WORDS, dtype="str"),
        "c": pd.Categorical(["u", "v", "u", None, "v", "v"], categories=["v", "u", "w"]),
        "d": pd.date_range("2020", periods=ROWS, tz="Europe/Berlin"),
        "n": pd.array([1, None, number, 3, 4, 5], dtype="Int64"),
        "o": [[1], None, (2,), "x", 1.5, {}],
    }
    names = ["i", *[name for i, name in enumerate([*content][1:]) if number >> i & 1]]
    if order.randrange(2):
        made = pd.DataFrame({name: content[name] for name in names})
    else:
        made = pd.DataFrame({"i": content["i"]})
        for name in names[1:]:
            made[name] = content[name]
    return made.set_index("i") if number % 3 == 0 else made


def series(number: int, parts: list[Value], order: Order) -> Any:
    made = frame(number, parts, order).reset_index()
    return made[made.columns[number % len(made.columns)]]


def polars_frame(number: int, parts: list[Value], order: Order) -> pl.DataFrame:
    whole = pl.from_arrow(table(number, parts, random.Random(0)))
    assert isinstance(whole, pl.DataFrame)
    cut = order.randrange(ROWS)
    return pl.concat([whole[:cut], whole[cut:]], rechunk=bool(order.randrange(2)))


def by_reference(number: int, parts: list[Value], order: Order) -> DataFrame:
    """Return a table by reference: made of any library's table, in any format."""
    value = table(number, parts, order)
    makers = [lambda: value, lambda: pl.from_arrow(value), lambda: value.to_reader(max_chunksize=2)]
    made = makers[order.randrange(2)]()
    return DataFrame(made, format=(ARROW, PARQUET)[order.randrange(2)])


# --- files and folders ----------------------------------------------------------------------------

CONTENTS = [b"", b"content", b"content" * 20_000, bytes(range(256)), bytes(65_536), bytes(65_537)]


def file(number: int, parts: list[Value], order: Order) -> File:
    """Return a file: of any name, copied from a local one, or written in pieces."""
    content = CONTENTS[number % len(CONTENTS)]
    given = {"hash_method": f"key {number % 3}"} if number % 7 == 0 else {}
    name = f"file {order.randrange(1000)}"
    if order.randrange(2):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, name)
            path.write_bytes(content)
            return File.from_local_sync(path, **given)
    made: File = File.new(name, **given)
    cut = order.randrange(len(content) + 1)
    with made.open_sync("wb") as out:
        out.write(content[:cut])
        out.write(content[cut:])
    return made


def folder(number: int, parts: list[Value], order: Order) -> Dir:
    """Return a folder, whose files were written in any order."""
    names = ["a", "b.csv", "sub/a", "sub/ä", "sub/sub/c", "sub-1"]
    chosen = [name for i, name in enumerate(names) if number >> i & 1]
    with tempfile.TemporaryDirectory() as place:
        top = pathlib.Path(place, f"folder {order.randrange(1000)}")
        top.mkdir()
        for name in shuffled(chosen, order):
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(CONTENTS[(number + names.index(name)) % len(CONTENTS)])
        return Dir.from_local_sync(top)


# --- tensors --------------------------------------------------------------------------------------

TENSORS = ["float32", "float64", "bfloat16", "float16", "int8", "int64", "bool", "complex64"]


def tensor(number: int, parts: list[Value], order: Order) -> Any:
    """Return a tensor: as it is, with gaps, or with its dimensions in another order."""
    import torch  # not every Python here has it

    dtype, shape = TENSORS[number % len(TENSORS)], SHAPES[number // 8 % len(SHAPES)]
    plain = torch.arange(int(np.prod(shape))) * (number % 11 + 1) % 97
    content = plain.to(getattr(torch, dtype)).reshape(shape)
    layout = order.randrange(3)
    if layout == 1 and shape:
        return content.repeat_interleave(2, dim=0)[::2]
    if layout == 2 and shape:
        dimensions = list(range(len(shape)))[::-1]
        return content.permute(dimensions).contiguous().permute(dimensions)
    return content


# --- all of them ----------------------------------------------------------------------------------

SCALARS: dict[str, Maker] = {
    "single": lambda n, parts, order: SINGLES[n % len(SINGLES)],
    "hashable": lambda n, parts, order: SINGLES[HASHABLE[n % len(HASHABLE)]],
    "number": lambda n, parts, order: n,
    "text": lambda n, parts, order: str(n),
}
ARRAYS: dict[str, Maker] = {
    "array": array,
    "structured": structured,
    "arrow table": table,
    "arrow array": arrow_array,
    "pandas frame": frame,
    "pandas series": series,
    "polars frame": polars_frame,
    "table by reference": by_reference,
    "file": file,
    "folder": folder,
}


def digest(value: Value) -> str:
    return dumps(value, MemoryBlobs()).digest.hex()


def digests(order: Order) -> list[str]:
    """Return the digest of the value of every seed, built in some order."""
    return [digest(build(recipe(random.Random(seed)), order)) for seed in range(SEEDS)]


if __name__ == "__main__":
    if "tensors" in sys.argv:
        ARRAYS["tensor"] = tensor
    json.dump(digests(random.Random(sys.argv[1])), sys.stdout)
