"""The tables of pandas, polars and pyarrow, to Arrow and back.

Only libraries that are there already are looked at: a value cannot be a polars frame where polars
was never imported.
"""

import sys
from typing import TYPE_CHECKING, Any

from perdure.errors import ConfigurationError, SerializationError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_NO_ARROW = "install pyarrow into this environment: pip install pyarrow"


def arrow() -> Any:
    """Return pyarrow.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ConfigurationError("perdure.io.DataFrame needs pyarrow", hint=_NO_ARROW) from error
    return pa


def is_frame(value: object) -> bool:
    """Whether the value is a table in memory."""
    return _is(value, "pandas", "DataFrame") or _is(value, "polars", "DataFrame") or is_arrow(value)


def is_arrow(value: object) -> bool:
    """Whether the value is a table in memory that nobody can change."""
    return _is(value, "pyarrow", "Table") or _is(value, "pyarrow", "RecordBatch")


def is_polars(value: object) -> bool:
    """Whether the value belongs to polars, whose own writers keep its memory low."""
    return _is(value, "polars", "DataFrame") or _is(value, "polars", "LazyFrame")


def is_stream(value: object) -> bool:
    """Whether the value is a table of which only a part is ever in memory."""
    return (
        _is(value, "polars", "LazyFrame")
        or _is(value, "pyarrow.dataset", "Dataset")
        or (hasattr(value, "__arrow_c_stream__") and not is_frame(value))
    )


def _is(value: object, module: str, name: str) -> bool:
    cls = getattr(sys.modules.get(module), name, None)
    return isinstance(cls, type) and isinstance(value, cls)


def to_arrow(value: Any) -> "pa.Table":
    """Return a table in memory as an Arrow table, in place where its library allows it.

    Raises:
        SerializationError: Something in it has no place in a table.
    """
    pa = arrow()
    if isinstance(value, pa.Table):
        return value
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    if is_polars(value):
        return value.to_arrow()
    return _from_pandas(value)


def to_batches(value: Any) -> "pa.RecordBatchReader":
    """Return a table that is a stream as batches."""
    pa = arrow()
    if _is(value, "pyarrow.dataset", "Dataset"):
        return value.scanner().to_reader()
    return pa.RecordBatchReader.from_stream(value)


def _from_pandas(frame: "pd.DataFrame") -> "pa.Table":
    import pandas as pd

    pa = arrow()
    labels = [label for label in frame.columns if not isinstance(label, str)]
    if labels:
        raise SerializationError(
            f"the columns of a table are named by text, and {labels[0]!r} is none",
            hint="rename it, or pass the pandas frame as it is, without a DataFrame around it",
        )
    index = frame.index
    plain = index.name is None and index.equals(pd.RangeIndex(len(frame)))
    try:
        return pa.Table.from_pandas(frame, preserve_index=not plain)
    except (pa.ArrowException, ValueError) as error:
        raise SerializationError(
            f"a pandas frame cannot be stored as a table: {' '.join(map(str, error.args))}",
            hint="give each column one type, or pass the pandas frame as it is, without a "
            "DataFrame around it",
        ) from error


# --- back -----------------------------------------------------------------------------------------


def to_pandas(table: "pa.Table", memory: memoryview | None = None) -> "pd.DataFrame":
    """Return an Arrow table as a pandas frame, which may be changed.

    Args:
        table: What Arrow makes of it in place, it makes read-only.
        memory: Where the table lies, if that may be written to: then its numbers stay there.
    """
    import pandas as pd

    # One block for each column: blocks of several would have to be copied together.
    frame = table.to_pandas(split_blocks=True)
    columns = {i: _writable(frame.iloc[:, i], memory) for i in range(frame.shape[1])}
    made = pd.DataFrame(columns, index=frame.index, copy=False)
    made.columns = frame.columns
    return made


def _writable(column: "pd.Series[Any]", memory: memoryview | None) -> Any:
    import numpy as np

    if column.dtype == object:
        return column
    if memory is not None and isinstance(column.dtype, np.dtype) and len(column):
        start = np.frombuffer(memory, np.uint8).ctypes.data
        offset = column.to_numpy().ctypes.data - start
        if 0 <= offset < len(memory):
            return np.ndarray(len(column), column.dtype, memory, offset)
    return column.copy()


def to_polars(table: "pa.Table | pa.RecordBatch") -> "pl.DataFrame":
    """Return an Arrow table as a polars frame."""
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # as always of a table
    return frame
