"""polars: frames and series, as polars' own IPC stream."""

import io
from typing import IO, TYPE_CHECKING, Any, cast

import polars as pl

from perdure._blobs.hashing import blake3_of
from perdure._serde import format as f
from perdure._serde.format import Ext
from perdure._serde.pickles import encode_pickle
from perdure._serde.registry import decodes, encodes
from perdure._serde.writing import BlobFile

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer


@encodes(pl.DataFrame)
def _frame(writer: "Writer", value: pl.DataFrame) -> Ext:
    if any(dtype == pl.Object for dtype in value.dtypes):
        return encode_pickle(writer, value)
    return _encode(writer, "DataFrame", value, value.width)


@encodes(pl.Series)
def _series(writer: "Writer", value: pl.Series) -> Ext:
    if value.dtype == pl.Object:
        return encode_pickle(writer, value)
    return _encode(writer, "Series", value.to_frame(), None)


def _encode(writer: "Writer", kind: str, frame: pl.DataFrame, columns: int | None) -> Ext:
    content = (kind, _digest(frame), frame.height, columns, _written(writer, frame))
    return writer.node(f.POLARS, content)


def _written(writer: "Writer", frame: pl.DataFrame) -> Ext:
    newest = pl.CompatLevel.newest()
    if frame.estimated_size() <= f.INLINE_BYTES:
        small = io.BytesIO()
        frame.write_ipc_stream(small, compat_level=newest)
        return writer.buffer(small.getbuffer())
    with BlobFile(writer.blobs) as large:
        frame.write_ipc_stream(cast("IO[bytes]", large), compat_level=newest)
        return writer.blob(*large.commit())


def _digest(frame: pl.DataFrame) -> bytes:
    if (arrow := _arrow(frame)) is None:  # then the bytes of the layout polars itself would choose
        file = io.BytesIO()
        frame.rechunk().write_ipc_stream(file)
        return blake3_of([file.getbuffer()])
    from perdure._serde.arrowhash import table_digest

    types = ",".join(map(str, frame.dtypes)).encode()
    return blake3_of([types, table_digest(arrow)])


def _arrow(frame: pl.DataFrame) -> Any:
    """Return the frame as an Arrow table; None without pyarrow, and where Arrow lacks a type."""
    try:
        import pyarrow as pa
    except ImportError:
        return None
    try:
        return frame.to_arrow()
    except pa.ArrowException:
        return None


def _in_place(buffer: memoryview) -> pl.DataFrame | None:
    """Return the frame where it lies; None without pyarrow, and where Arrow lacks a type."""
    try:
        import pyarrow as pa
        from pyarrow import ipc
    except ImportError:
        return None
    try:
        frame = pl.from_arrow(ipc.open_stream(pa.py_buffer(buffer)).read_all())
    except pa.ArrowException:
        return None
    assert isinstance(frame, pl.DataFrame)  # as always of a table
    return frame


@decodes(f.POLARS)
def _decode(reader: "Reader", payload: memoryview) -> Any:
    kind, _, _, _, buffer = reader.decode(payload)
    frame = _in_place(buffer)
    if frame is None:
        frame = pl.read_ipc_stream(io.BytesIO(buffer))
    return frame if kind == "DataFrame" else frame.to_series()
