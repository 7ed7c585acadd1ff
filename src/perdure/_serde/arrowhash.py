"""The digest of Arrow data: of its logical content, not of its layout.

Equal arrays can differ in chunks, in offsets into larger buffers, in whether a validity bitmap is
there, and in the bytes below nulls. So the streams that do not depend on these are hashed: which
rows are valid, how long the items are, and the bytes of the valid items. A chunk is looked at some
rows at a time: what has to be rearranged for this never needs a second copy of a large column.
"""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

_ROWS = 1 << 20
_TEXT = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def table_digest(table: Any) -> bytes:
    """Return the 32-byte digest of a table: names, types and content of its columns."""
    total = blake3()
    for field, column in zip(table.schema, table.columns, strict=True):
        head = f"{field.name}\0{field.type}\0{field.nullable}\0{len(column)}\0"
        total.update(head.encode("utf-8", "surrogatepass"))
        total.update(_column_digest(column.chunks))
    return total.digest()


def _column_digest(chunks: list[Any]) -> bytes:
    column = _Column()
    for chunk in chunks:
        column.update(chunk)
    return column.digest()


class ContentDigests:
    """The digests of the columns of a table that comes batch by batch.

    They are of the content alone; whoever compares them compares :func:`logical_name`, too.

    Args:
        width: Number of columns.
    """

    def __init__(self, width: int) -> None:
        self._columns = [_Column() for _ in range(width)]

    def update(self, columns: list[Any]) -> None:
        """Add arrays, one for each column."""
        for column, array in zip(self._columns, columns, strict=True):
            column.update(array)

    def digests(self) -> list[bytes]:
        """Return the 16-byte digest of each column."""
        return [column.digest()[:16] for column in self._columns]


def logical_name(kind: Any) -> str:
    """Return the name of a type, the same for all layouts that hold the same values.

    Libraries prefer different layouts for text, lists and categories; what they hold is the same.
    """
    for is_kind, name in _LOGICAL:
        if is_kind(kind):
            return name(kind)
    return str(kind)


def _fields(kind: Any) -> str:
    return ", ".join(f"{field.name}: {logical_name(field.type)}" for field in kind)


_LOGICAL: list[tuple[Callable[[Any], bool], Callable[[Any], str]]] = [
    (lambda t: isinstance(t, pa.BaseExtensionType), lambda t: f"extension<{t.extension_name}>"),
    (pa.types.is_dictionary, lambda t: f"category<{logical_name(t.value_type)}>"),
    (pa.types.is_run_end_encoded, lambda t: logical_name(t.value_type)),
    (pa.types.is_large_string, lambda t: "string"),
    (pa.types.is_string_view, lambda t: "string"),
    (pa.types.is_large_binary, lambda t: "binary"),
    (pa.types.is_binary_view, lambda t: "binary"),
    (
        pa.types.is_fixed_size_list,
        lambda t: f"list<{logical_name(t.value_type)}>[{t.list_size}]",
    ),
    *[
        (is_list, lambda t: f"list<{logical_name(t.value_type)}>")
        for is_list in (*_LISTS[:2], pa.types.is_list_view, pa.types.is_large_list_view)
    ],
    (pa.types.is_struct, lambda t: f"struct<{_fields(t)}>"),
    (
        pa.types.is_map,
        lambda t: f"map<{logical_name(t.key_type)}, {logical_name(t.item_type)}>",
    ),
]


class _Column:
    """The streams of one column; nested types have a column for each child."""

    def __init__(self) -> None:
        self._validity = blake3()
        self._lengths = blake3()
        self._data = blake3(max_threads=blake3.AUTO)
        self._children: list[_Column] = []

    def update(self, array: Any) -> None:
        """Add a chunk."""
        for start in range(0, len(array), _ROWS):
            self._update(array.slice(start, _ROWS))

    def _update(self, array: Any) -> None:
        array = _decoded(array)
        self._validity.update(_bytes(pc.is_valid(array).cast(pa.uint8())))
        if array.null_count:
            array = array.drop_null()
        kind = array.type
        if pa.types.is_boolean(kind):
            self._data.update(_bytes(array.cast(pa.uint8())))
        elif any(is_text(kind) for is_text in _TEXT):
            self._lengths.update(_bytes(pc.binary_length(array).cast(pa.int64())))
            self._data.update(_text_bytes(array))
        elif any(is_list(kind) for is_list in _LISTS):
            self._lengths.update(_bytes(pc.list_value_length(array).cast(pa.int64())))
            self._update_children([array.flatten()])
        elif pa.types.is_struct(kind):
            self._update_children(array.flatten())
        elif (width := _width(kind)) is not None:
            self._data.update(_bytes(array, width))
        elif not pa.types.is_null(kind):  # unions, run-end encoding: as Arrow writes them
            self._data.update(memoryview(pa.record_batch([array], ["x"]).serialize()))

    def _update_children(self, arrays: list[Any]) -> None:
        if not self._children:
            self._children = [_Column() for _ in arrays]
        for child, array in zip(self._children, arrays, strict=True):
            child.update(array)

    def digest(self) -> bytes:
        """Return the digest of all streams."""
        own = (self._validity, self._lengths, self._data)
        digests = [part.digest() for part in own] + [child.digest() for child in self._children]
        return blake3(b"".join(digests)).digest()


def _decoded(array: Any) -> Any:
    """Return an array of an indirect layout as one of a direct layout."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _decoded(array.storage)
    if pa.types.is_dictionary(kind):
        return _decoded(array.dictionary_decode())
    if pa.types.is_string_view(kind):
        return array.cast(pa.large_string())
    if pa.types.is_binary_view(kind):
        return array.cast(pa.large_binary())
    if pa.types.is_map(kind):
        entry = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        return array.cast(pa.list_(entry))
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return array.cast(pa.large_list(kind.value_field))
    if pa.types.is_run_end_encoded(kind):
        return pc.run_end_decode(array)
    return array


def _width(kind: Any) -> int | None:
    try:
        return int(kind.bit_width) // 8
    except ValueError:  # not of fixed width
        return None


def _bytes(array: Any, width: int | None = None) -> memoryview:
    width = width or _width(array.type) or 1
    if not len(array):
        return memoryview(b"")
    start = array.offset * width
    return memoryview(array.buffers()[1])[start : start + len(array) * width]


def _text_bytes(array: Any) -> memoryview:
    _, offsets, data = array.buffers()
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    places = memoryview(offsets).cast("B").cast("q" if large else "i")
    if data is None:
        return memoryview(b"")
    return memoryview(data)[places[array.offset] : places[array.offset + len(array)]]
