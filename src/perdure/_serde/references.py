"""What an encoded value refers to, without decoding it: futures, artifacts, large things."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from perdure._ports import Blobs
from perdure._serde import format as f
from perdure._serde.format import Ext
from perdure._serde.preview import preview
from perdure.errors import StorageError

_LABEL = 60
_LARGEST = 1 << 24
_OPAQUE = frozenset({f.RAW, f.BIG_INT, f.STR, f.COMPLEX, f.UUID})
_TRANSPARENT = frozenset(
    (
        f.TUPLE, f.SET, f.FROZEN_SET, f.MAP, f.ORDERED_DICT, f.DEFAULT_DICT, f.COUNTER, f.DEQUE,
        f.NAMESPACE, f.OBJECT, f.MODEL, f.NAMED_TUPLE, f.OBJECT_ARRAY,
    )
)  # fmt: skip
"""Nodes that hold other values; what is in any other node belongs to one thing."""

_BY_REFERENCE: dict[int, Callable[[Any], Iterable[bytes]]] = {
    f.FILE: lambda content: content[:1],
    f.DIR: lambda content: content[3][1::3],
    f.DATA_FRAME: lambda content: content[3:4] if content[4] > f.INLINE_BYTES else (),
}
"""Nodes that name their blobs themselves."""


class Future(NamedTuple):
    """The value of an action.

    Attributes:
        action: Id of the action.
    """

    action: bytes


class Artifact(NamedTuple):
    """A published value.

    Attributes:
        label: Its name and version.
        blob: Digest of the blob that holds its value.
    """

    label: str
    blob: bytes


class Holding(NamedTuple):
    """One large thing: a table, an array, a file.

    Attributes:
        label: What it is, e.g. ``ndarray float64 (1000,)``.
        blobs: Digests of the blobs that it is made of.
        node: It alone, as an encoded value; b"" if it is a value that fills a blob.
    """

    label: str
    blobs: tuple[bytes, ...]
    node: bytes


Reference = Future | Artifact | Holding


class _Blob(NamedTuple):
    digest: bytes


_pack = msgspec.msgpack.Encoder().encode


def references(data: bytes | memoryview, blobs: Blobs | None = None) -> list[Reference]:
    """Return what an encoded value refers to, in order; nothing for bytes that are no value.

    Args:
        data: The value.
        blobs: Where to look into a value that fills a blob; None: do not.
    """
    try:
        if data[0] == f.PLAIN:
            return []
        if data[0] == f.POINTER:
            key, size, text = _unpack(data[1:])
            inside = references(blobs.get(key)) if blobs and size <= _LARGEST else []
            return [*inside, Holding(text[:_LABEL], (key,), b"")]
        return list(_met(_unpack(data[1:])))
    except (msgspec.DecodeError, RecursionError, IndexError, TypeError, ValueError, StorageError):
        return []


def _node(code: int, payload: memoryview) -> Any:
    if code == f.FUTURE:
        return Future(bytes(payload))
    if code == f.BLOB:
        return _Blob(bytes(payload[:32]))
    if code in _OPAQUE:
        return None
    content = _unpack(payload)
    if code == f.ARTIFACT:
        return Artifact(*content[:2])
    if code in _TRANSPARENT:
        return content
    named = _BY_REFERENCE.get(code)
    blobs = tuple(dict.fromkeys(named(content) if named else _blobs(content)))
    if not blobs:
        return content  # it may hold futures
    node = b"\1" + _pack(Ext(code, bytes(payload)))
    return Holding(preview(node, _LABEL), blobs, node)


_unpack: Callable[[bytes | memoryview], Any] = msgspec.msgpack.Decoder(ext_hook=_node).decode


def _met(content: Any) -> Iterator[Reference]:
    if isinstance(content, Reference):
        yield content
    elif isinstance(content, list):
        for item in content:
            yield from _met(item)
    elif isinstance(content, dict):
        yield from _met(list(content.values()))


def _blobs(content: Any) -> Iterator[bytes]:
    match content:
        case _Blob(digest):
            yield digest
        case Holding():
            yield from content.blobs
        case list():
            for item in content:
                yield from _blobs(item)
        case dict():
            yield from _blobs(list(content.values()))
