"""Tables as files in the blob store.

``ARROW``, the default, is an uncompressed Arrow IPC file: it is written from where the columns lie,
at the speed of the page cache, and read in place, column by column, by mapping it. ``PARQUET`` is
several times smaller and several times slower to write; choose it for what is kept for long or
travels far. Which of the two a table is in is no part of what it is.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from perdure._ports import Blobs
from perdure._serde.format import INLINE_BYTES
from perdure._serde.writing import BlobFile
from perdure.errors import ConfigurationError, SerializationError
from perdure.io import _tables as tables

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ARROW, PARQUET = "arrow", "parquet"
FORMATS = (ARROW, PARQUET)

_MAGIC = {b"ARROW1": ARROW, b"PAR1": PARQUET}
_ROWS = 1 << 17  # of a batch that is read or written at a time


class Column(NamedTuple):
    """A column: its name, the logical name of its type, and the digest of its content."""

    name: str
    type: str
    digest: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A table in the blob store, and what can be said about it without opening it.

    Attributes:
        blobs: Where its file is.
        format: Of the file.
        rows: Number of rows.
        index: Names of the columns that are the index of the pandas frame it was.
        columns: Its columns, those of the index included; the file may hold more.
        place: Digest of the file; of a small one its content.
        size: Of the file, in bytes.
    """

    blobs: Blobs
    format: str
    rows: int
    index: tuple[str, ...]
    columns: tuple[Column, ...]
    place: bytes
    size: int

    @property
    def types(self) -> dict[str, str]:
        """The columns: names, and names of their types."""
        return {column.name: column.type for column in self.columns}

    @property
    def is_inline(self) -> bool:
        """Whether the file is so small that it travels with the value."""
        return self.size <= INLINE_BYTES

    def select(self, names: Sequence[str]) -> "Stored":
        """Return the table with these columns only, in this order, from the same file."""
        known = {column.name: column for column in self.columns}
        return dataclasses.replace(self, columns=tuple(known[name] for name in names))

    def file(self, *, private: bool = False) -> memoryview:
        """Return the bytes of the file, mapped where possible."""
        if not self.is_inline:
            return self.blobs.get(self.place, private=private)
        return memoryview(bytearray(self.place) if private else self.place)

    def schema(self) -> "pa.Schema":
        """Return the schema of the columns."""
        whole = _Reading(self.format, self.file()).schema
        return _of_columns(whole, [column.name for column in self.columns])

    def table(self, names: Sequence[str]) -> "pa.Table":
        """Read some columns, in this order: in place, or decoded, as the format has it."""
        return _Reading(self.format, self.file()).table(names)

    def pandas(self, names: Sequence[str]) -> "pd.DataFrame":
        """Read some columns as a pandas frame, whose numbers are changed where they lie."""
        memory = self.file(private=True)
        return tables.to_pandas(_Reading(self.format, memory).table(names), memory)

    def batches(self, names: Sequence[str]) -> "Iterator[pa.RecordBatch]":
        """Read some columns a batch of rows at a time."""
        return _Reading(self.format, self.file()).batches(names)


class _Reading:
    """An open file: reads the columns it is asked for, and no others."""

    def __init__(self, kind: str, view: memoryview) -> None:
        self._format = kind
        self._buffer = tables.arrow().py_buffer(view)

    @property
    def schema(self) -> "pa.Schema":
        if self._format == ARROW:
            return self._ipc().schema
        return self._parquet().schema_arrow

    def table(self, names: Sequence[str]) -> "pa.Table":
        if self._format == ARROW:
            found = self._ipc().read_all()
        else:
            found = self._parquet().read(columns=list(names))
        return found.select(list(names))

    def batches(self, names: Sequence[str]) -> "Iterator[pa.RecordBatch]":
        if self._format == ARROW:
            file = self._ipc()
            for i in range(file.num_record_batches):
                batch = file.get_batch(i).select(list(names))
                for start in range(0, batch.num_rows, _ROWS):
                    yield batch.slice(start, _ROWS)
        else:
            for batch in self._parquet().iter_batches(_ROWS, columns=list(names)):
                yield batch.select(list(names))

    def _ipc(self) -> Any:
        # Not told which columns: it would copy those, where all of them can be had in place.
        from pyarrow import ipc

        return ipc.open_file(self._buffer)

    def _parquet(self) -> Any:
        from pyarrow import parquet

        return parquet.ParquetFile(self._buffer)


def _of_columns(schema: "pa.Schema", names: Iterable[str]) -> "pa.Schema":
    pa = tables.arrow()
    return pa.schema([schema.field(name) for name in names], metadata=schema.metadata)


# --- writing --------------------------------------------------------------------------------------


def store_frame(value: Any, kind: str, blobs: Blobs) -> Stored:
    """Write a table that is in memory; a column that lies there as Arrow is not copied.

    Raises:
        SerializationError: Something in it has no place in a table.
        StorageError: It cannot be written.
    """
    if tables.is_polars(value):
        return _store_polars(value, kind, blobs)
    table = tables.to_arrow(value)
    if kind == PARQUET:
        return _store_batches(table.to_reader(_ROWS), kind, blobs)
    from pyarrow import ipc

    from perdure._serde.arrow import Parts

    content = _Content(table.schema)
    for batch in table.to_batches():
        content.update(batch)
    parts = Parts()
    with ipc.new_file(tables.arrow().PythonFile(parts, "w"), table.schema) as file:
        file.write_table(table.unify_dictionaries())
    size = sum(map(len, parts.parts))
    place = b"".join(parts.parts) if size <= INLINE_BYTES else blobs.put(parts.parts)
    return content.stored(blobs, kind, place, size)


def store_stream(value: Any, kind: str, blobs: Blobs) -> Stored:
    """Write a table that is a stream: only some rows of it are in memory at a time."""
    if tables.is_polars(value):
        return _store_polars(value, kind, blobs)
    return _store_batches(tables.to_batches(value), kind, blobs)


def store_file(digest: bytes, size: int, blobs: Blobs, name: str) -> Stored:
    """Return the table of a parquet or Arrow file that is a blob, and was ``name``.

    Raises:
        ConfigurationError: It is neither, or damaged.
    """
    view = blobs.get(digest)
    kind = next((name for magic, name in _MAGIC.items() if view[: len(magic)] == magic), None)
    if kind is None:
        raise ConfigurationError(
            f"{name} is neither a parquet nor an Arrow file",
            hint="read it with pandas, polars or pyarrow, and make a DataFrame of what they give",
        )
    try:
        reading = _Reading(kind, view)
        content = _Content(reading.schema)
        for batch in reading.batches(reading.schema.names):
            content.update(batch)
    except tables.arrow().ArrowException as error:
        raise ConfigurationError(
            f"{name} is a damaged {kind} file: {error}", hint="is it whole? Write it again"
        ) from error
    return content.stored(blobs, kind, *_placed(digest, size, blobs))


def _store_batches(batches: "pa.RecordBatchReader", kind: str, blobs: Blobs) -> Stored:
    content = _Content(batches.schema)
    with BlobFile(blobs) as file:
        with _writer(tables.arrow().PythonFile(file, "w"), batches.schema, kind) as out:
            for batch in batches:
                out.write_batch(batch)
                content.update(batch)
        return content.stored(blobs, kind, *_placed(*file.commit(), blobs))


def _store_polars(value: Any, kind: str, blobs: Blobs) -> Stored:
    # By its own writer, as its texts and categories have no Arrow layout of the usual kind.
    import polars as pl

    verb = "sink" if isinstance(value, pl.LazyFrame) else "write"
    with BlobFile(blobs) as file:
        if kind == PARQUET:
            getattr(value, f"{verb}_parquet")(file)
        else:
            getattr(value, f"{verb}_ipc")(file, compat_level=pl.CompatLevel.oldest())
        try:
            return store_file(*file.commit(), blobs, "what polars wrote")
        except ConfigurationError as error:
            raise SerializationError(
                f"a polars frame cannot be stored as a table: {error.message}",
                hint="cast the columns that Arrow lacks a type for, or pass the polars frame as it "
                "is, without a DataFrame around it",
            ) from error


def _writer(file: "pa.NativeFile", schema: "pa.Schema", kind: str) -> Any:
    if kind == PARQUET:
        from pyarrow import parquet

        return parquet.ParquetWriter(file, schema, compression="zstd")
    from pyarrow import ipc

    return ipc.new_file(file, schema)


def _placed(digest: bytes, size: int, blobs: Blobs) -> tuple[bytes, int]:
    """Return where a file is that has become a blob: what is small travels with the value."""
    return (digest if size > INLINE_BYTES else bytes(blobs.get(digest))), size


class _Content:
    """What a table is, found out batch by batch."""

    def __init__(self, schema: "pa.Schema") -> None:
        from perdure._serde.arrowhash import ContentDigests

        if twice := [name for name in schema.names if schema.names.count(name) > 1]:
            raise SerializationError(
                f"the table has more than one column named {twice[0]!r}", hint="rename one of them"
            )
        self._schema = schema
        self._digests = ContentDigests(len(schema))
        self._rows = 0

    def update(self, batch: "pa.RecordBatch") -> None:
        """Add a batch."""
        self._digests.update(batch.columns)
        self._rows += batch.num_rows

    def stored(self, blobs: Blobs, kind: str, place: bytes, size: int) -> Stored:
        """Return the table, whose file is there."""
        from perdure._serde.arrowhash import logical_name

        names, types = self._schema.names, map(logical_name, self._schema.types)
        columns = tuple(map(Column, names, types, self._digests.digests()))
        index = index_of(self._schema)
        return Stored(blobs, kind, self._rows, index, columns, place, size)


def index_of(schema: "pa.Schema") -> tuple[str, ...]:
    """Return the names of the columns that are the index of the pandas frame a table was."""
    told = (schema.metadata or {}).get(b"pandas")
    found = json.loads(told).get("index_columns", ()) if told else ()
    return tuple(name for name in found if isinstance(name, str) and name in schema.names)
