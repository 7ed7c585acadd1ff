"""polars: frames and series, as polars' own IPC stream."""

import io
from typing import TYPE_CHECKING, Any

import polars as pl

from perdure._blobs.hashing import blake3_of
from perdure._serde import format as f
from perdure._serde.format import Ext
from perdure._serde.pickles import encode_pickle
from perdure._serde.registry import decodes, encodes

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
    file = io.BytesIO()
    frame.write_ipc_stream(file, compat_level=pl.CompatLevel.newest())
    data = file.getbuffer()
    content = (kind, _digest(frame), frame.height, columns, writer.buffer(data))
    return writer.node(f.POLARS, content)


def _digest(frame: pl.DataFrame) -> bytes:
    try:
        from perdure._serde.arrowhash import table_digest
    except ImportError:  # without pyarrow: the bytes of the one layout polars itself would choose
        file = io.BytesIO()
        frame.rechunk().write_ipc_stream(file)
        return blake3_of([file.getbuffer()])
    types = ",".join(map(str, frame.dtypes)).encode()
    return blake3_of([types, table_digest(frame.to_arrow())])


@decodes(f.POLARS)
def _decode(reader: "Reader", payload: memoryview) -> Any:
    kind, _, _, _, buffer = reader.decode(payload)
    frame = pl.read_ipc_stream(io.BytesIO(buffer))
    return frame if kind == "DataFrame" else frame.to_series()
