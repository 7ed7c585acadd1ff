"""Values to bytes.

Plain data, by far the most common case, is recognised at C speed (a set of the types of a whole
list or dict at a time) and handed to msgspec as it is. Everything else is walked once, each value
being replaced by a node its handler makes. The walk does not know sharing: a list that appears
twice is encoded twice. What cannot be walked (a cycle, very deep nesting) is pickled as a whole.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from perdure._blobs.hashing import blake3_of
from perdure._core.ids import digest
from perdure._ports import Blobs
from perdure._serde import format as f
from perdure._serde.canonical import REORDERED, canonical
from perdure._serde.format import INLINE_BYTES, Encoded, Ext
from perdure._serde.registry import ENCODERS, find_encoder
from perdure.errors import SerializationError

MAX_DEPTH = 150
"""Levels of nodes; decoding takes three stack frames a level, of the 1000 Python allows."""

_SCALARS = frozenset({type(None), bool, int, float, str})
_CAREFUL = frozenset({type(None), bool, float})
_PLAIN = _SCALARS | {bytes, list, dict}
_STR = frozenset({str})

_pack = msgspec.msgpack.Encoder().encode
_pack_sorted = msgspec.msgpack.Encoder(order="deterministic").encode


class Unencodable(Exception):
    """No handler can encode ``value``."""

    def __init__(self, value: object, reason: str) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason


def dumps(value: object, blobs: Blobs) -> Encoded:
    """Encode a value.

    Args:
        value: Any value; a :class:`Deferred` in it becomes one of the result's ``needs``.
        blobs: Where large payloads and buffers are put.

    Raises:
        SerializationError: The value, or something inside it, cannot be encoded; the message names
            the type and the path to it.
        StorageError: A blob cannot be written.
    """
    try:
        if type(value) is dict and len(value) == 1:
            ((name, item),) = value.items()
            if type(name) is str and type(item) in _SCALARS:  # one argument, as of most calls
                body = _pack(value)
                if len(body) < INLINE_BYTES:
                    return Encoded(b"\0" + body, digest(body))
        if is_plain(value):
            body = _pack(value)
            data = b"\0" + body
            if len(body) < INLINE_BYTES:
                return Encoded(data, digest(_pack_sorted(value)))
            return _spilled(data, _pack_sorted(value), Writer(blobs))
    except (OverflowError, UnicodeEncodeError, RecursionError):
        pass  # a big int, a lone surrogate, or too deep: the walk knows what to do
    return _dumps_tagged(value, blobs)


def is_plain(value: object) -> bool:
    """Whether msgpack represents the value exactly, buffers that belong in blobs aside."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is dict:
        if not {*map(type, value)} <= _STR:  # type: ignore[call-overload]
            return False
        value = value.values()  # type: ignore[attr-defined]
    elif kind is bytes:
        return len(value) <= INLINE_BYTES  # type: ignore[arg-type]
    elif kind is not list:
        return False
    kinds = {*map(type, value)}  # type: ignore[call-overload]
    if kinds <= _SCALARS:
        return True
    return kinds <= _PLAIN and all(map(is_plain, value))  # type: ignore[call-overload]


class Writer:
    """One walk over a value.

    Attributes:
        blobs: Where large buffers are put.
        careful: Whether ints and texts may be such that msgpack cannot represent them.
        refs: Digests of the blobs put so far, in order.
        needs: Action ids of the futures met so far, in order.
        classes: Nodes of the classes met so far.
        in_order: Whether the encoded form is the canonical one already.
    """

    __slots__ = (
        "_depth", "_scalars", "blobs", "careful", "classes", "in_order", "needs", "refs",
    )  # fmt: skip

    def __init__(self, blobs: Blobs, *, careful: bool = False) -> None:
        self.blobs = blobs
        self.careful = careful
        self.refs: dict[bytes, None] = {}
        self.needs: dict[bytes, None] = {}
        self.classes: dict[type, Ext] = {}
        self.in_order = True
        self._depth = 0
        self._scalars = _CAREFUL if careful else _SCALARS

    def encode(self, value: object) -> object:
        """Return ``value`` as something msgpack can represent."""
        kind = type(value)
        if kind in self._scalars:
            return value
        if self._depth >= MAX_DEPTH:
            raise RecursionError
        self._depth += 1
        result = (ENCODERS.get(kind) or find_encoder(kind))(self, value)
        self._depth -= 1
        return result

    def encode_all(self, values: Any) -> list[object]:
        """Return the values of a sized iterable, each as something msgpack can represent."""
        if {*map(type, values)} <= self._scalars:
            return [*values]
        return [*map(self.encode, values)]

    def node(self, code: int, payload: object) -> Ext:
        """Return a node whose payload has been encoded already."""
        if code in REORDERED:
            self.in_order = False
        return Ext(code, _pack(payload))

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Keep the walk's state right when what is encoded inside may fail and be left out."""
        depth = self._depth
        try:
            yield
        finally:
            self._depth = depth

    def buffer(self, *parts: bytes | memoryview) -> Ext:
        """Return a node for raw bytes, which are put into the blob store if they are many."""
        size = sum(map(len, parts))
        if size <= INLINE_BYTES:
            return Ext(f.RAW, b"".join(parts))
        return self.blob(self.blobs.put(parts), size)

    def blob(self, key: bytes, size: int) -> Ext:
        """Return a node for a buffer that is in the blob store."""
        self.refs[key] = None
        return Ext(f.BLOB, key + size.to_bytes(8, "big"))

    def refer(self, digest: bytes) -> None:
        """Say that the value refers to a blob that was stored some time before.

        Raises:
            BlobMissingError: It is not there any more.
        """
        self.blobs.keep(digest)
        self.refs[digest] = None


def _dumps_tagged(value: object, blobs: Blobs) -> Encoded:
    try:
        try:
            writer, body = _walk(value, blobs, careful=False)
        except (OverflowError, UnicodeEncodeError):
            writer, body = _walk(value, blobs, careful=True)
    except RecursionError:
        writer, body = _pickled_whole(value, blobs)
    except Unencodable as error:
        from perdure._serde.diagnose import explain

        raise explain(value, error) from error.__cause__  # the error of the user's object, if any
    data = b"\1" + body
    canon = body if writer.in_order else canonical(body)
    if len(body) < INLINE_BYTES:
        return Encoded(data, _value_digest(canon), tuple(writer.refs), tuple(writer.needs))
    return _spilled(data, canon, writer)


def _walk(value: object, blobs: Blobs, *, careful: bool) -> tuple[Writer, bytes]:
    writer = Writer(blobs, careful=careful)
    return writer, _pack(writer.encode(value))


def _pickled_whole(value: object, blobs: Blobs) -> tuple[Writer, bytes]:
    from perdure._serde.pickles import encode_pickle

    writer = Writer(blobs)
    try:
        return writer, _pack(encode_pickle(writer, value))
    except (RecursionError, Unencodable) as error:
        raise SerializationError(
            f"a value of type {type(value).__name__} contains itself or is nested too deeply",
            hint="pass a flatter structure, e.g. a list of nodes and their indices",
        ) from error


def _spilled(data: bytes, canon: bytes, writer: Writer) -> Encoded:
    """Put a large payload into the blob store; what travels is a pointer with a preview."""
    from perdure._serde.preview import preview

    key = writer.blobs.put([data])
    writer.refs[key] = None
    pointer = b"\2" + _pack([key, len(data), preview(data)])
    return Encoded(pointer, _value_digest(canon), tuple(writer.refs), tuple(writer.needs))


def _value_digest(canon: bytes) -> bytes:
    # BLAKE3 uses all cores and is several times faster on long input.
    return digest(canon if len(canon) < INLINE_BYTES else b"\xc1" + blake3_of([canon]))
