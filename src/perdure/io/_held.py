"""Tables in memory, seen the way a stored one is."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from perdure.io import _tables as tables
from perdure.io._stored import index_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A table in memory.

    Attributes:
        value: As its library has it.
        format: In which it will be stored.
    """

    value: Any
    format: str

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.value)

    @property
    def types(self) -> dict[str, str]:
        """The columns: names, and names of their types."""
        from perdure._serde.arrowhash import logical_name

        schema = self.schema()
        return dict(zip(schema.names, map(logical_name, schema.types), strict=True))

    @property
    def index(self) -> tuple[str, ...]:
        """Names of the columns that are the index of a pandas frame."""
        return index_of(self.schema())

    def select(self, names: Sequence[str]) -> "Held":
        """Return the table with these columns only, in this order."""
        return Held(self.table(names), self.format)

    def schema(self) -> "pa.Schema":
        """Return the schema of the columns."""
        return tables.to_arrow(self.value).schema

    def table(self, names: Sequence[str]) -> "pa.Table":
        """Return some of the columns, in this order."""
        return tables.to_arrow(self.value).select(list(names))

    def pandas(self, names: Sequence[str]) -> "pd.DataFrame":
        """Return some of the columns as a pandas frame, which may be changed."""
        return tables.to_pandas(self.table(names))

    def batches(self, names: Sequence[str]) -> "Iterator[pa.RecordBatch]":
        """Return some of the columns, a batch of rows at a time."""
        yield from self.table(names).to_batches()
