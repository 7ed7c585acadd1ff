"""Prints the digest of many values; started as a script, or loaded the way a worker does."""

import collections
import dataclasses
import datetime as dt
import enum
import json
import pathlib
import sys
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from pydantic import BaseModel

from perdure._blobs.memory import MemoryBlobs
from perdure._serde import Deferred, dumps


class Colour(enum.Enum):
    RED = 1


class Model(BaseModel):
    depth: int = 3
    names: set[str] = set()


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float
    tags: frozenset[str]
    model: Model
    weights: object


def named(x: int) -> int:
    return x


class Future(Deferred):
    action_id = b"a" * 16


WORDS = [f"word {i}" for i in range(50)]


def values() -> dict[str, object]:
    array = np.arange(20_000.0)
    return {
        "none": None,
        "true": True,
        "int": 1,
        "float": 1.0,
        "text": "text",
        "bytes": b"bytes",
        "big bytes": b"bytes" * 100_000,
        "list": [1, "a", None],
        "big list": [*range(100_000)],
        "dict": {"b": 1, "a": {"d": 2, "c": 3}},
        "any keys": {1: "a", "1": "b", (2,): "c", None: 0},
        "set": {*WORDS, *range(50), None},
        "frozenset": frozenset(frozenset({word, 1}) for word in WORDS),
        "counter": collections.Counter(WORDS),
        "big int": 10**40,
        "decimal": Decimal("1.10"),
        "uuid": uuid.UUID(int=1),
        "datetime": dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        "path": pathlib.PurePosixPath("a/b"),
        "enum": Colour.RED,
        "function": named,
        "class": Config,
        "model": Model(names={*WORDS}),
        "dataclass": Config(0.5, frozenset(WORDS), Model(depth=1), array),
        "small array": np.arange(6, dtype="i4").reshape(2, 3),
        "array": array,
        "structured": np.array([(1, 2.0)], dtype=[("a", "i1"), ("b", "f8")]),
        "pandas": pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])}),
        "polars": pl.DataFrame({"a": [1, None], "b": ["x", "y"]}),
        "arrow": pa.table({"a": [1, None], "b": [["x"], []]}),
        "future": [Future()],
    }


def digests() -> dict[str, str]:
    blobs = MemoryBlobs()
    return {name: dumps(value, blobs).digest.hex() for name, value in values().items()}


if __name__ == "__main__":
    json.dump(digests(), sys.stdout)
