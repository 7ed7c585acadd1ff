"""Tables by reference, whatever library made them and whatever library will read them."""

import dataclasses
import difflib
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from perdure._core.ids import digest
from perdure._ports import Blobs
from perdure._serde import format as f
from perdure._serde import typecheck
from perdure._serde.classes import load_global, type_name
from perdure._serde.format import Ext
from perdure._serde.registry import BY_REFERENCE, decodes, encodes
from perdure._storage.location import locate
from perdure.client.twofold import on_thread
from perdure.errors import ConfigurationError, NotSupportedError, TypeCheckError
from perdure.io import _stored as stored
from perdure.io import _surroundings as surroundings
from perdure.io import _tables as tables
from perdure.io._columns import Narrowing, checked_format
from perdure.io._copying import copy_in, copy_over
from perdure.io._hashing_io import HashMethod
from perdure.io._held import Held
from perdure.io._opening import OPENERS, Source
from perdure.io._stored import ARROW, Column, Stored

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer

T = TypeVar("T")

_OWN = "leave it out: tables are kept where large values are, and known by their content"


class DataFrame:
    """A table by reference: made of any library's table, read as any library's.

    Passing one on costs nothing, however large it is; nothing is loaded until it is asked for, and
    then only the columns that are. What it holds is stored once, when it first leaves the task (a
    stream at once), and is never changed. Tables with the same columns and rows are the same value,
    whichever library made them and whatever file holds them.

    Args:
        value: A table of pandas, polars or pyarrow; or a stream of one: a polars ``LazyFrame``, a
            ``pyarrow.RecordBatchReader``, a ``pyarrow.dataset.Dataset``, whatever else speaks the
            Arrow stream interface. The index of a pandas frame is kept, as further columns.
        format: How it is stored: ``perdure.io.ARROW`` is fast and read in place,
            ``perdure.io.PARQUET`` is small.

    Raises:
        ConfigurationError: The value is no table, or there is no such format.

    Example:
        >>> table = DataFrame(pd.DataFrame({"id": [1, 2], "name": ["x", "y"]}))
        >>> table.to_polars(["id"])
    """

    __slots__ = ("_given", "_source")

    _source: Held | Stored
    _given: str | None  # what stands for the content, if its maker said so

    def __init__(self, value: Any, *, format: str = ARROW) -> None:  # noqa: A002
        checked_format(format)
        self._given = None
        if tables.is_frame(value):
            self._source = Held(value, format)
        elif tables.is_stream(value):
            self._source = stored.store_stream(value, format, surroundings.blobs())
        else:
            raise ConfigurationError(
                f"{type_name(type(value))} is no table",
                hint="give a table of pandas, polars or pyarrow; a file: DataFrame.from_existing",
            )

    @classmethod
    def _of(cls, source: Held | Stored, given: str | None = None) -> "DataFrame":
        self = cls.__new__(cls)
        self._source = source
        self._given = given
        return self

    # --- making -----------------------------------------------------------------------------------

    @classmethod
    def wrap_df(cls, val: Any, uri: str | None = None) -> "DataFrame":
        """Return the table by reference; ``DataFrame(val)`` does the same.

        Args:
            val: A table of pandas, polars or pyarrow.
            uri: Not supported: tables are kept where large values are.
        """
        _refuse(uri=uri)
        return cls(val)

    @classmethod
    def from_df(cls, val: Any, uri: str | None = None) -> "DataFrame":
        """Do what :meth:`wrap_df` does."""
        return cls.wrap_df(val, uri)

    @classmethod
    async def from_local(
        cls,
        df: Any,
        columns: Any = None,
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
    ) -> "DataFrame":
        """Do what :meth:`from_local_sync` does, from async code."""
        return await on_thread(
            lambda: cls.from_local_sync(df, columns, remote_destination, hash_method)
        )

    @classmethod
    def from_local_sync(
        cls,
        df: Any,
        columns: Any = None,
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
    ) -> "DataFrame":
        """Store a table now, rather than when it leaves the task: what is in memory may go.

        Args:
            df: A table of pandas, polars or pyarrow, or a stream of one.
            columns: Names and types that it must have; it is stored with no others.
            remote_destination: Not supported: tables are kept where large values are.
            hash_method: What stands for its content when values are compared, or what tells: it is
                given the table.

        Raises:
            TypeCheckError: It lacks one of the columns.
        """
        _refuse(remote_destination=remote_destination)
        table = cls(df)
        if columns is not None:
            try:
                table = Narrowing((columns,))(table)
            except typecheck.Mismatch as mismatch:
                raise TypeCheckError(str(mismatch)) from None
        if hash_method is not None and not isinstance(hash_method, str):
            hash_method.update(df)
            hash_method = hash_method.result()
        return cls._of(table._stored(surroundings.blobs()), hash_method)

    @classmethod
    def from_existing(cls, path: str | os.PathLike[str]) -> "DataFrame":
        """Return the table of a parquet or Arrow file, of which a copy is kept as it is.

        Args:
            path: Path or URL (``s3://``, ``gs://``, ``az://``) of the file. It is read once, now.

        Raises:
            FileMissingError: There is no such file.
            ConfigurationError: The file is of another kind.
            StorageError: It cannot be read, or the copy cannot be written.
        """
        blobs = surroundings.blobs()
        digest, size = copy_in(locate(path), blobs)
        return cls._of(stored.store_file(digest, size, blobs, str(path)))

    @classmethod
    def from_existing_remote(
        cls,
        remote_path: str,
        format: str | None = None,  # noqa: A002  # Flyte's
    ) -> "DataFrame":
        """Do what :meth:`from_existing` does.

        Args:
            remote_path: Path or URL of the file.
            format: Of the file; it is recognised, so that this need not be said.
        """
        table = cls.from_existing(remote_path)
        if format not in (None, "", table.format):
            raise ConfigurationError(
                f"{remote_path} is a file of format {table.format}, not {format}",
                hint="leave the format out",
            )
        return table

    # --- what it is -------------------------------------------------------------------------------

    @property
    def columns(self) -> list[str]:
        """Names of the columns, without those of a pandas index."""
        hidden = self._source.index
        return [name for name in self.types if name not in hidden]

    @property
    def types(self) -> dict[str, str]:
        """Names of all columns, each with the name of its type: the same for all libraries."""
        return self._source.types

    @property
    def schema(self) -> "pa.Schema":
        """The Arrow schema."""
        return self._source.schema()

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return self._source.rows

    @property
    def format(self) -> str:
        """How it is stored, or will be."""
        return self._source.format

    @property
    def hash(self) -> str:
        """Digest of its content, as hexadecimal text; or what its maker said instead of that."""
        if self._given is not None:
            return self._given
        source = self._source
        kept = source if isinstance(source, Stored) else self._stored(surroundings.blobs())
        return digest(_pack(_identity(kept))).hex()

    @property
    def val(self) -> Any:
        """The table it was made of, as long as it is in memory; else None."""
        return self._source.value if isinstance(self._source, Held) else None

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}: {kind}" for name, kind in self.types.items())
        return f"<DataFrame of {self.num_rows:,} rows ({shown})>"

    # --- reading ----------------------------------------------------------------------------------

    def open(
        self, dataframe_type: type[T], columns: Sequence[str] | None = None
    ) -> "OpenDataFrame[T]":
        """Say as what it will be read; nothing is, before :meth:`OpenDataFrame.all` or ``iter``.

        As an argument or result of a task, what this returns arrives as a ``dataframe_type``, read
        where it arrives.

        Args:
            dataframe_type: ``pandas.DataFrame``, ``polars.DataFrame``, ``polars.LazyFrame``,
                ``pyarrow.Table`` or ``pyarrow.RecordBatchReader``.
            columns: Only these, in this order. What is left out is not read.

        Raises:
            NotSupportedError: It cannot be read as that.
            ConfigurationError: There is no such column.
        """
        if type_name(dataframe_type) not in OPENERS:
            raise NotSupportedError(
                f"a DataFrame cannot be opened as {type_name(dataframe_type)}",
                hint=f"open it as {', '.join(OPENERS)}, and go on from there",
            )
        return OpenDataFrame(self if columns is None else self.select(columns), dataframe_type)

    def to_pandas(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Read it, or only these columns and the index, as a pandas frame; it may be changed."""
        import pandas as pd

        return self.open(pd.DataFrame, columns).all_sync()

    def to_polars(self, columns: Sequence[str] | None = None) -> "pl.DataFrame":
        """Read it, or only these columns, as a polars frame."""
        import polars as pl

        return self.open(pl.DataFrame, columns).all_sync()

    def to_arrow(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """Read it, or only these columns, as an Arrow table."""
        return self.open(tables.arrow().Table, columns).all_sync()

    def select(self, columns: Sequence[str]) -> "DataFrame":
        """Return the table with these columns only, in this order: a view, nothing is read.

        The index that a pandas frame had stays with it.

        Raises:
            ConfigurationError: There is no such column, or ``columns`` is a single name.
        """
        if isinstance(columns, str):
            raise ConfigurationError(
                f"select({columns!r}) takes a list of columns", hint=f"write [{columns!r}]"
            )
        known, index = self.types, self._source.index
        for name in columns:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise ConfigurationError(
                    f"the table has no column {name!r}",
                    hint=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}",
                )
        return self._of(self._source.select([*dict.fromkeys([*columns, *index])]))

    # --- what hints and workers need --------------------------------------------------------------

    def _stored_as(self, kind: str) -> "DataFrame":
        """Return the table, to be stored in this format unless it is stored already."""
        source = self._source
        return self._of(Held(source.value, kind), self._given) if isinstance(source, Held) else self

    def _stored(self, blobs: Blobs) -> Stored:
        """Return where it is stored, which it is hereby in ``blobs``."""
        source = self._source
        if isinstance(source, Held):
            kept = stored.store_frame(source.value, source.format, blobs)
            if tables.is_arrow(source.value):  # else the user may still change it
                self._source = kept
            return kept
        if not source.is_inline:
            copy_over(source.place, source.blobs, blobs)
        return source

    def __reduce__(self) -> tuple[Any, ...]:
        source = self._source
        if isinstance(source, Stored):
            content = dataclasses.replace(source, blobs=None)  # type: ignore[arg-type]
            return _restored, (content, self._given)
        return DataFrame._of, (source, self._given)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: "GetCoreSchemaHandler"
    ) -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)


class OpenDataFrame(Generic[T]):
    """A table, and as what it is going to be read: what :meth:`DataFrame.open` returns."""

    __slots__ = ("_table", "_type")

    def __init__(self, table: DataFrame, dataframe_type: type[T]) -> None:
        self._table = table
        self._type = dataframe_type

    async def all(self) -> T:
        """Read the whole table, without blocking the event loop."""
        return await on_thread(self.all_sync)

    def all_sync(self) -> T:
        """Read the whole table."""
        value = self._table.val
        if isinstance(value, self._type):
            return value
        return self._read(self._table._source)

    async def iter(self) -> AsyncIterator[T]:
        """Read the table some rows at a time, without blocking the event loop.

        As in Flyte 2, this is awaited: ``async for part in await table.open(...).iter()``.
        """
        parts, end = self.iter_sync(), object()

        async def read() -> AsyncIterator[T]:
            while (part := await on_thread(lambda: next(parts, end))) is not end:
                yield part  # type: ignore[misc]  # not the end

        return read()

    def iter_sync(self) -> Iterator[T]:
        """Read the table some rows at a time."""
        for batch in self._table._source.batches([*self._table.types]):
            yield self._read(Held(batch, ARROW))

    def _read(self, source: Source) -> T:
        found: T = OPENERS[type_name(self._type)](source, [*self._table.types])
        return found


for _public in (DataFrame, OpenDataFrame):
    _public.__module__ = "perdure.io"  # by which name errors and pickles know them


def _restored(source: Stored, given: str | None = None) -> DataFrame:
    """Return what was pickled by others than us: it is where this process stores."""
    return DataFrame._of(dataclasses.replace(source, blobs=surroundings.blobs()), given)


def _refuse(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise NotSupportedError(f"{name}= of a DataFrame is not supported", hint=_OWN)


# --- bytes ----------------------------------------------------------------------------------------

_pack = msgspec.msgpack.Encoder().encode


def _identity(source: Stored) -> tuple[object, ...]:
    return source.rows, source.index, *source.columns


@encodes(DataFrame)
def _encode(writer: "Writer", value: DataFrame) -> Ext:
    return _encode_as(writer, value, None)


@encodes(OpenDataFrame)
def _encode_open(writer: "Writer", value: OpenDataFrame[Any]) -> Ext:
    module, _, name = type_name(value._type).rpartition(".")
    return _encode_as(writer, value._table, (module, name))


def _encode_as(writer: "Writer", value: DataFrame, opened: tuple[str, str] | None) -> Ext:
    source = value._stored(writer.blobs)
    if not source.is_inline:
        writer.refs[source.place] = None
    content = (opened, _identity(source), source.format, source.place, source.size)
    return writer.node(f.DATA_FRAME, content if value._given is None else (*content, value._given))


BY_REFERENCE.update((DataFrame, OpenDataFrame))


@decodes(f.DATA_FRAME)
def _decode(reader: "Reader", payload: memoryview) -> Any:
    opened, (rows, index, *columns), kind, place, size, *given = reader.decode(payload)
    known = tuple(Column(*column) for column in columns)
    source = Stored(reader.blobs, kind, rows, tuple(index), known, place, size)
    value = DataFrame._of(source, *given)
    return value if opened is None else value.open(load_global(*opened)).all_sync()


# --- hints ----------------------------------------------------------------------------------------


def _coerce(cls: type, value: Any) -> object:
    """Make a table of a hint's class of a table of another class."""
    if cls is DataFrame and (tables.is_frame(value) or tables.is_stream(value)):
        return DataFrame(value)
    if isinstance(value, DataFrame) and type_name(cls) in OPENERS:
        table: OpenDataFrame[Any] = value.open(cls)
        return table.all_sync() if typecheck.arrived.get() else table
    return NotImplemented


typecheck.COERCIONS.append(_coerce)
typecheck.NARROWINGS[DataFrame] = Narrowing
