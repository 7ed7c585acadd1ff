"""The encoded form of values.

An encoded value is one byte that names its kind, then a msgpack document:

- ``PLAIN``: the value itself. ``None``, bool, 64-bit int, float, str, bytes, list and dict with str
  keys, exactly these types; decoded in one go, with no Python code per item.
- ``TAGGED``: the same, in which every value of another type is an extension (a *node*): its code
  says what it is, its payload is opaque bytes or again a msgpack document with nodes.
- ``POINTER``: ``[blob, size, preview]``: the payload proper is in the blob store, because it is
  larger than ``INLINE_BYTES``.

Buffers larger than ``INLINE_BYTES`` (arrays, tables, bytes) go to the blob store one by one; in
their place stands a ``BLOB`` node.

The *canonical* form, of which the digest is taken, is derived from the encoded one (see
``canonical.py``): entries of dicts and sets are ordered, and what does not belong to the value's
identity (a pickled class, memory layout) is left out.
"""

import msgspec

INLINE_BYTES = 1 << 16
"""Payloads and buffers up to this size travel inline."""

PLAIN, TAGGED, POINTER = 0, 1, 2

Ext = msgspec.msgpack.Ext

# Codes of nodes. They are part of the stored format: never reuse one.
RAW = 0  # buffer, inline
BLOB = 1  # buffer in the blob store: its digest (32 bytes) and size (8 bytes)
FUTURE = 2  # action id of 16 bytes
GLOBAL = 3  # [module, qualname] of a class, function or constant
CLASS = 4  # [module, qualname, pickle]: a class that other processes cannot import
PICKLE = 5  # [type name, pickle, buffers]
ERROR = 6  # see errors.py
GENERIC = 7  # [class, type argument, ...]
ARTIFACT = 8  # [name@version, blob, digest, [value] or []]: see named.py

BIG_INT = 10
STR = 11  # text with lone surrogates
BYTES = 12  # buffer
BYTEARRAY = 13  # buffer
COMPLEX = 14
TUPLE = 15  # items
SET = 16  # items
FROZEN_SET = 17  # items
MAP = 18  # [key, value, ...] for keys that are not all str
RANGE = 19
SLICE = 20
DATE = 21
TIME = 22
DATETIME = 23
TIMEDELTA = 24
TIMEZONE = 25
ZONE = 26
UUID = 27
DECIMAL = 28
FRACTION = 29
PATH = 30
ORDERED_DICT = 31  # [key, value, ...]
DEFAULT_DICT = 32  # [factory, dict]
COUNTER = 33  # dict
DEQUE = 34  # [maxlen, items]
NAMESPACE = 35  # dict

OBJECT = 50  # [class, fields, other attributes]: dataclasses, attrs, structs
MODEL = 51  # [class, fields, what equality ignores]: pydantic
ENUM = 52  # [class, name, value]
NAMED_TUPLE = 53  # [class, items]

NDARRAY = 70  # [dtype, shape, buffer]
OBJECT_ARRAY = 71  # [shape, items]
NUMPY_SCALAR = 72  # [dtype, bytes, text]
DTYPE = 73
TENSOR = 74  # [dtype name, shape, buffer, class, requires gradient]

ARROW = 90  # [kind, digest, rows, columns, buffer]
POLARS = 91  # [kind, digest, rows, columns, buffer]
FRAME = 92  # [kind, shape, columns, index, values, attrs]
SERIES = 93  # [kind, shape, name, index, values, attrs]
INDEX = 94  # [kind, shape, name, values, frequency]
DATA_FRAME = 95  # [opened as, [rows, index, column, ...], format, blob or bytes, size, hash?]

FILE = 100  # [digest, size, name, format, hash]
DIR = 101  # [name, format, hash, [path, digest, size, ...]]


def printable(text: str) -> str:
    """Return a text that is only shown, without the lone surrogates msgpack refuses."""
    return text.encode("utf-8", "backslashreplace").decode()


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A value as bytes.

    Attributes:
        data: What travels and is stored; at most a little over ``INLINE_BYTES``.
        digest: 16 bytes; equal values have equal digests, in every process.
        blobs: Digests (32 bytes each) of all blobs the value refers to.
        needs: Ids of the actions whose futures appear in the value, in order of appearance.
    """

    data: bytes
    digest: bytes
    blobs: tuple[bytes, ...] = ()
    needs: tuple[bytes, ...] = ()


class Deferred:
    """A value that does not exist yet: the outcome of an action, encoded as its id.

    Attributes:
        action_id: Id of the action (16 bytes).
    """

    action_id: bytes
