import dataclasses
import datetime as dt
import enum
import json
import pathlib
import subprocess
import sys
import threading
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from perdure._blobs.memory import MemoryBlobs
from perdure._serde import dumps, preview, to_json


class Model(BaseModel):
    depth: int
    rates: tuple[float, ...] = (0.5,)


@dataclasses.dataclass
class Config:
    name: str
    model: Model


class Colour(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


class Opaque:
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"x": 5, "y": [None, True, 1.5]}, "{'x': 5, 'y': [None, True, 1.5]}"),
        ((1,), "(1,)"),
        ((1, {2}), "(1, {2})"),
        (set(), "set()"),
        ({1: "a", (2,): "b"}, "{1: 'a', (2,): 'b'}"),
        (10**30, "1" + "0" * 30),
        (Decimal("1.10"), "1.10"),
        (dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC), "2024-01-02 03:04:00 UTC"),
        (dt.timedelta(days=1, seconds=2), "1 day, 0:00:02"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (range(3), "range(0, 3)"),
        (1 + 2j, "(1+2j)"),
        (Colour.RED, "Colour.RED"),
        (Point(1, 2), "Point(1, 2)"),
        (Model(depth=3), "Model(depth=3, rates=(0.5,))"),
        (Config("a", Model(depth=3)), "Config(name='a', model=Model(depth=3, rates=(0.5,)))"),
        (np.zeros((1000, 3)), "ndarray float64 (1000, 3)"),
        (np.float32(1.5), "1.5"),
        (pd.DataFrame({"a": [0] * 1234}), "DataFrame 1,234 rows x 1 columns"),
        (pd.Series([1]), "Series 1 items"),
        (pa.table({"a": [1], "b": [2]}), "Table 1 rows x 2 columns"),
        (pl.DataFrame({"a": [1]}), "DataFrame 1 rows x 1 columns"),
        (b"short", "b'short'"),
        (b"x" * 2048, "<2.0 KiB>"),
        (b"x" * 200_000, "<195.3 KiB>"),
        (int, "int"),
        (KeyError("k"), "KeyError: 'k'"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_previews_read_like_the_value(value: Any, text: str, blobs: MemoryBlobs) -> None:
    assert preview(dumps(value, blobs).data) == text


@pytest.mark.filterwarnings("ignore::perdure._serde.PickledValueWarning")
def test_a_pickle_shows_its_type_only(blobs: MemoryBlobs) -> None:
    text = preview(dumps([Opaque()], blobs).data)
    assert text.startswith("[<pickled ")
    assert text.endswith("test_preview.Opaque>]")


def test_long_values_are_cut(blobs: MemoryBlobs) -> None:
    for value in ([*range(1000)], "x" * 1000, {"a" * 500: 1}, [*range(200_000)]):
        text = preview(dumps(value, blobs).data, 60)
        assert len(text) <= 60
        assert "…" in text


def test_json_pictures_are_json(blobs: MemoryBlobs) -> None:
    value = {
        "model": Config("a", Model(depth=3)),
        "tuple": (1, float("nan")),
        "keys": {1: b"x", (2,): 2**60},
        "array": np.zeros(3),
        "when": dt.date(2024, 1, 1),
    }
    picture = to_json(dumps(value, blobs).data)
    assert json.loads(json.dumps(picture, allow_nan=False)) == {
        "model": {
            "$type": "Config",
            "name": "a",
            "model": {"$type": "Model", "depth": 3, "rates": [0.5]},
        },
        "tuple": [1, "nan"],
        "keys": {"1": {"$type": "bytes", "size": 1, "hex": "78"}, "(2,)": str(2**60)},
        "array": "ndarray float64 (3,)",
        "when": "2024-01-01",
    }


def test_pictures_import_nothing(blobs: MemoryBlobs, tmp_path: pathlib.Path) -> None:
    data = dumps([Config("a", Model(depth=3)), np.zeros(2), threading.Thread], blobs).data
    (tmp_path / "value").write_bytes(data)
    code = f"""
import sys, pathlib
from perdure._serde import preview, to_json
before = {{*sys.modules}}
data = pathlib.Path({str(tmp_path / "value")!r}).read_bytes()
preview(data), to_json(data)
new = {{*sys.modules}} - before
assert not any(name.startswith(("numpy", "pydantic", "tests", "test_", "cloudpickle", "pickle"))
               for name in new), new
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.binary(max_size=60))
@settings(max_examples=200)
def test_any_bytes_have_a_picture(data: bytes) -> None:
    assert len(preview(data, 50)) <= 50
    json.dumps(to_json(data))
