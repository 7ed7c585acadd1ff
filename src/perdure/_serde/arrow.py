"""pyarrow: tables, record batches and arrays, as an IPC stream that is read in place."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.ipc as ipc

from perdure._serde import format as f
from perdure._serde.arrowhash import table_digest
from perdure._serde.format import Ext
from perdure._serde.registry import RESOLVERS, EncodeHandler, decodes, encodes

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer

_COLUMN = "values"


@encodes(pa.Table)
def _table(writer: "Writer", value: Any) -> Ext:
    return _encode(writer, "Table", value, value.num_columns)


@encodes(pa.RecordBatch)
def _batch(writer: "Writer", value: Any) -> Ext:
    return _encode(writer, "RecordBatch", pa.Table.from_batches([value]), value.num_columns)


@encodes(pa.ChunkedArray)
def _chunked(writer: "Writer", value: Any) -> Ext:
    return _encode(writer, "ChunkedArray", pa.table([value], [_COLUMN]), None)


def encode_arrow_array(writer: "Writer", value: Any) -> Ext:
    """Return the node of an array."""
    return _encode(writer, "Array", pa.table([value], [_COLUMN]), None)


def _resolve(cls: type) -> EncodeHandler | None:
    return encode_arrow_array if issubclass(cls, pa.Array) else None


RESOLVERS.append(_resolve)


def _encode(writer: "Writer", kind: str, table: Any, columns: int | None) -> Ext:
    sink = Parts()
    with ipc.new_stream(pa.PythonFile(sink, "w"), table.schema) as stream:
        stream.write_table(table)
    buffer = writer.buffer(*sink.parts)
    return writer.node(f.ARROW, (kind, table_digest(table), table.num_rows, columns, buffer))


class Parts:
    """A file that keeps what is written to it in place: columns are not copied."""

    closed = False

    def __init__(self) -> None:
        self.parts: list[memoryview] = []

    def write(self, data: Any) -> int:
        """Keep a buffer of the table, or bytes between them."""
        self.parts.append(memoryview(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: there is nowhere to write to."""


@decodes(f.ARROW)
def _decode(reader: "Reader", payload: memoryview) -> Any:
    kind, _, _, _, buffer = reader.decode(payload)
    table = ipc.open_stream(pa.py_buffer(buffer)).read_all()
    if kind == "Table":
        return table
    if kind == "RecordBatch":
        arrays = [_one_chunk(column) for column in table.columns]
        return pa.RecordBatch.from_arrays(arrays, schema=table.schema)
    column = table.column(0)
    return column if kind == "ChunkedArray" else _one_chunk(column)


def _one_chunk(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
