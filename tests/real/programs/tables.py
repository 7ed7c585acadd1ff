"""Tasks that hand tables over, by reference and as what they want."""

import asyncio
from typing import Annotated

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

import perdure
from perdure.io import PARQUET, DataFrame
from real.programs.arrays import grown

env = perdure.TaskEnvironment("tables")


@env.task
def make(rows: int) -> DataFrame:
    """Return a pandas frame, by reference."""
    return DataFrame(pd.DataFrame({"id": np.arange(rows), "half": np.arange(rows) / 2}))


@env.task
def make_pandas(rows: int) -> pd.DataFrame:
    """Return a pandas frame."""
    return pd.DataFrame({"id": np.arange(rows), "half": np.arange(rows) / 2})


@env.task
def make_parquet(rows: int) -> Annotated[DataFrame, PARQUET]:
    """Return a polars frame where a reference is promised."""
    return pl.DataFrame({"id": np.arange(rows), "half": np.arange(rows) / 2})  # type: ignore[return-value]


@env.task
def total(table: pd.DataFrame) -> int:
    """Sum a column of a pandas frame."""
    assert type(table) is pd.DataFrame
    return int(table["id"].sum())


@env.task
def total_polars(table: pl.DataFrame) -> int:
    """Sum a column of a polars frame."""
    assert type(table) is pl.DataFrame
    return int(table["id"].sum())


@env.task
async def total_column(table: Annotated[DataFrame, {"id": int}]) -> int:
    """Sum the one column that is asked for."""
    assert table.columns == ["id"]
    return int((await table.open(pa.Table).all()).column("id").to_numpy().sum())


@env.task
async def totals(rows: int) -> list[int]:
    """Pass tables on in all ways: as futures and as values, by reference and as they are."""
    by_reference = make.submit(rows)
    plain = make_pandas.submit(rows)
    parquet = await make_parquet.aio(rows)
    assert isinstance(parquet, DataFrame)
    assert parquet.format == PARQUET
    return list(
        await asyncio.gather(
            total.aio(by_reference),
            total.aio(await by_reference),
            total_polars.aio(parquet),
            total_polars.aio(by_reference),
            total_column(by_reference),
            total_column(parquet),
            total_column(plain),
            total_column(DataFrame(await plain)),
        )
    )


@env.task
def wrong(rows: int) -> int:
    """Pass on a table that lacks a column."""
    return lacking(make(rows))


@env.task
def lacking(table: Annotated[DataFrame, {"id": int, "nope": str}]) -> int:
    """Ask for a column that is not there."""
    return table.num_rows


@env.task
def copied(rows: int) -> int:
    """Tell by how many bytes of its own a task grows that reads a table of another one."""
    return growth(make(rows))


@env.task
def growth(table: DataFrame) -> int:
    """Read one column of a table in place."""
    return grown("Anonymous", lambda: table.to_arrow(["id"]).column("id").to_numpy().sum())
