"""As what a table can be read: by its columns, all rows at once, or only those that are used."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from perdure.io import _tables as tables

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


class Source(Protocol):
    """What has the columns of a table: a stored one, or one in memory."""

    def schema(self) -> "pa.Schema":
        """Return the schema of all columns."""

    def table(self, names: Sequence[str]) -> "pa.Table":
        """Return some columns."""

    def pandas(self, names: Sequence[str]) -> "pd.DataFrame":
        """Return some columns as a pandas frame, which may be changed."""

    def batches(self, names: Sequence[str]) -> "Iterator[pa.RecordBatch]":
        """Yield some columns, a batch of rows at a time."""


def _polars(source: Source, names: Sequence[str]) -> "pl.DataFrame":
    return tables.to_polars(source.table(names))


def _lazy(source: Source, names: Sequence[str]) -> "pl.LazyFrame":
    """Return a polars query over the table: what it does not ask for, is not read."""
    from polars.io.plugins import register_io_source

    def scan(
        columns: list[str] | None, predicate: "pl.Expr | None", rows: int | None, _: int | None
    ) -> "Iterator[pl.DataFrame]":
        for batch in source.batches(names if columns is None else columns):
            part = tables.to_polars(batch)
            if rows is not None:
                part, rows = part.head(rows), max(rows - part.height, 0)
            yield part if predicate is None else part.filter(predicate)
            if rows == 0:
                return

    empty = tables.to_polars(_of_columns(source, names).empty_table())
    return register_io_source(scan, schema=empty.schema, is_pure=True)


def _batches(source: Source, names: Sequence[str]) -> "pa.RecordBatchReader":
    reader = tables.arrow().RecordBatchReader
    return reader.from_batches(_of_columns(source, names), source.batches(names))


def _of_columns(source: Source, names: Sequence[str]) -> "pa.Schema":
    whole = source.schema()
    return tables.arrow().schema([whole.field(name) for name in names], metadata=whole.metadata)


OPENERS: dict[str, Callable[[Any, Sequence[str]], Any]] = {
    "pandas.DataFrame": lambda source, names: source.pandas(names),
    "polars.DataFrame": _polars,
    "polars.LazyFrame": _lazy,
    "pyarrow.Table": lambda source, names: source.table(names),
    "pyarrow.RecordBatchReader": _batches,
}
"""What reads columns as a type of that name."""
