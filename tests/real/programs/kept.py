"""Tasks whose values are kept. Each leaves a mark when it runs, which is no part of its key."""

import asyncio
import dataclasses
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

import perdure

env = perdure.TaskEnvironment("kept", cache=perdure.Cache(ignored_inputs=("mark", "gate", "fails")))
parents = env.clone_with("parents", cache="disable")


@dataclasses.dataclass
class Measured:
    names: set[str]
    values: np.ndarray


def leave(mark: Path, text: str = "x") -> None:
    with mark.open("a") as file:
        file.write(text)


@env.task
def double(mark: Path, x: int) -> int:
    leave(mark)
    return 2 * x


@env.task
def quadruple(mark: Path, x: int) -> int:
    return double(mark, double(mark, x))


@env.task
def echo(mark: Path, value):  # type: ignore[no-untyped-def]  # of any type
    leave(mark)
    return value


@env.task
def large(mark: Path, n: int) -> np.ndarray:
    leave(mark)
    return np.arange(n)


@env.task
def fragile(mark: Path, fails: bool) -> str:
    leave(mark)
    if fails:
        raise ValueError("not now")
    return "through"


@env.task(cache=perdure.Cache(serialize=True, ignored_inputs=("mark", "gate")))
def gated(mark: Path, gate: Path, x: int) -> int:
    leave(mark)
    while not gate.exists():
        time.sleep(0.005)
    return x


@parents.task
def doubles(mark: Path, xs: list[int]) -> list[int]:
    return list(perdure.map(double, [mark] * len(xs), xs))


@parents.task
def passed_on(mark: Path, x: int) -> int:
    """Call a task with a future of the value that others give it directly."""
    once = double.submit(mark, x)
    return double.submit(mark, once).result()


VALUES = {
    "bytes": b"\0\1" * 10,
    "long bytes": b"ab" * 100_000,
    "set": {"b", "a", "c"},
    "nested": {"deep": [{1, 2}, (3, b"4")], "none": None},
    "dataclass": Measured({"x", "y"}, np.ones(3)),
    "large array": np.arange(50_000),
    "arrow": pa.table({"a": [1, 2], "b": ["x", None]}),
    "pandas": pd.DataFrame({"a": [1.5, 2.5]}),
    "polars": pl.DataFrame({"a": [1, 2, 3]}),
}


@parents.task
def every_kind(mark: Path) -> int:
    """Pass values of all kinds on, directly and as results of others."""
    for value in VALUES.values():
        echo.submit(mark, echo.submit(mark, value)).result()
    return len(VALUES)


@parents.task
async def at_once(mark: Path, gate: Path, n: int) -> list[int]:
    calls = [gated.aio(mark, gate, 7) for _ in range(n)]
    gate.touch()
    return await asyncio.gather(*calls)
