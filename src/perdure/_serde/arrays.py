"""numpy: arrays, scalars and dtypes.

Arrays are stored in C order and read back in place, read-only; only the bytes, dtype and shape are
their identity. Arrays of objects are lists of values with a shape.
"""

import functools
import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from perdure._serde import format as f
from perdure._serde.format import Ext, printable
from perdure._serde.pickles import encode_pickle
from perdure._serde.registry import RESOLVERS, EncodeHandler, decodes, encodes

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer


@encodes(np.ndarray, np.memmap)
def encode_array(writer: "Writer", value: Any) -> Ext:
    """Return the node of an array."""
    if value.dtype == object:
        return writer.node(f.OBJECT_ARRAY, (value.shape, writer.encode_all(value.ravel().tolist())))
    descr = _descr(value.dtype)
    if descr is None or value.dtype.hasobject:
        return encode_pickle(writer, value)
    array = _without_padding(np.asarray(value, order="C"))
    return writer.node(f.NDARRAY, (descr, array.shape, writer.buffer(_raw(array))))


@decodes(f.NDARRAY)
def _to_array(reader: "Reader", payload: memoryview) -> Any:
    descr, shape, buffer = reader.decode(payload)
    array = np.ndarray(shape, _dtype(descr), buffer if len(buffer) else None)
    if not reader.private:
        array.flags.writeable = False
    return array


def _raw(array: Any) -> memoryview | bytes:
    """Return the bytes of an array in C order, in place.

    An array that lies over the whole of a mapped blob is handed over as the mapping itself, by
    which the blob store knows it again.
    """
    if not array.nbytes:
        return b""
    base = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and len(base) == array.nbytes:
        return memoryview(base)
    view: memoryview = array.reshape(-1).view(np.uint8).data
    return view


@decodes(f.OBJECT_ARRAY)
def _to_object_array(reader: "Reader", payload: memoryview) -> Any:
    shape, items = reader.decode(payload)
    return np.fromiter(items, dtype=object, count=len(items)).reshape(shape)


def _encode_scalar(writer: "Writer", value: Any) -> Ext:
    array = np.asarray(value)
    descr = _descr(array.dtype)
    if descr is None or array.dtype.hasobject:
        return encode_pickle(writer, value)
    data = _without_padding(array).tobytes()
    return writer.node(f.NUMPY_SCALAR, (descr, data, printable(str(value)[:100])))


@decodes(f.NUMPY_SCALAR)
def _to_scalar(reader: "Reader", payload: memoryview) -> Any:
    descr, data, _ = reader.decode(payload)
    return np.ndarray((), _dtype(descr), data or None)[()]


def _encode_dtype(writer: "Writer", value: Any) -> Ext:
    descr = _descr(value)
    return encode_pickle(writer, value) if descr is None else writer.node(f.DTYPE, descr)


@decodes(f.DTYPE)
def _to_dtype(reader: "Reader", payload: memoryview) -> Any:
    return _dtype(reader.decode(payload))


def _resolve(cls: type) -> EncodeHandler | None:
    if issubclass(cls, np.generic):
        return _encode_scalar
    return _encode_dtype if issubclass(cls, np.dtype) else None


RESOLVERS.append(_resolve)


@functools.lru_cache(maxsize=256)
def _descr(dtype: Any) -> Any:
    """Return a dtype as text or nested lists; None if that would not bring it back."""
    descr = np.lib.format.dtype_to_descr(dtype)
    try:
        same = np.lib.format.descr_to_dtype(descr) == dtype
    except (TypeError, ValueError):
        return None
    return descr if same else None


def _dtype(descr: Any) -> Any:
    return np.lib.format.descr_to_dtype(_with_tuples(descr))


def _with_tuples(descr: Any) -> Any:
    """Turn the fields of a structured dtype back into the tuples that msgpack made lists."""
    if isinstance(descr, str):
        return descr
    return [
        (
            tuple(name) if isinstance(name, list) else name,
            _with_tuples(inner),
            *map(tuple, shape),
        )
        for name, inner, *shape in descr
    ]


def _without_padding(array: Any) -> Any:
    """Return a structured array whose bytes between the fields are zero, not left-overs."""
    names = array.dtype.names
    if not names or array.dtype.itemsize == sum(array.dtype[name].itemsize for name in names):
        return array
    clean = np.zeros(array.shape, array.dtype)
    for name in names:
        clean[name] = array[name]
    return clean
