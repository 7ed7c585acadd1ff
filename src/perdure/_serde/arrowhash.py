"""The digest of Arrow data: of its logical content, not of its layout.

Equal arrays can differ in chunks, in offsets into larger buffers, in whether a validity bitmap is
there, and in the bytes below nulls. So the streams that do not depend on these are hashed: which
rows are valid, how long the items are, and the bytes of the valid items.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

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


class _Column:
    """The streams of one column; nested types have a column for each child."""

    def __init__(self) -> None:
        self._validity = blake3()
        self._lengths = blake3()
        self._data = blake3(max_threads=blake3.AUTO)
        self._children: list[_Column] = []

    def update(self, array: Any) -> None:
        """Add a chunk."""
        if not len(array):
            return
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
