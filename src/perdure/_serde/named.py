"""Values that are stored already and go by a name: artifacts.

In the place of such a value stands a node with its name, so that whoever looks at the bytes sees
which version was meant. To everybody else it *is* the value: it decodes to it, and its canonical
form is that of the value, so a call that is given the artifact is the call that is given its
content. Only values of plain data that fill a blob of their own are known by their digest there.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from perdure._serde import format as f
from perdure._serde.decode import loads
from perdure._serde.format import INLINE_BYTES, Encoded, Ext
from perdure._serde.registry import RESOLVERS, EncodeHandler, decodes

if TYPE_CHECKING:
    from perdure._ports import Blobs
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


class Named:
    """A stored value, or a question that finds one. Wherever it is passed, the value arrives."""

    @property
    def label(self) -> str:
        """What people call it, e.g. ``flights@3``."""
        raise NotImplementedError

    @property
    def stored(self) -> Encoded:
        """The value as :func:`store` made it."""
        raise NotImplementedError

    def resolved(self) -> "Named":
        """Return what the question finds; anything else is itself."""
        return self

    def value(self) -> Any:
        """Return the value."""
        raise NotImplementedError


def store(encoded: Encoded, blobs: "Blobs") -> Encoded:
    """Return an encoded value such that the blob store holds it as a whole, however small it is.

    The last one of its blobs is the one that holds it.
    """
    from perdure._serde.preview import preview

    if encoded.data[0] == f.POINTER:
        return encoded
    key = blobs.put([encoded.data])
    pointer = b"\2" + _pack([key, len(encoded.data), preview(encoded.data)])
    others = (blob for blob in encoded.blobs if blob != key)
    return Encoded(pointer, encoded.digest, (*others, key), encoded.needs)


def content(data: bytes, blobs: "Blobs") -> bytes | memoryview:
    """Return a small value as it would be if it did not fill a blob; a large one as it is."""
    if data[0] != f.POINTER:
        return data
    key, size, _ = _unpack(data[1:])
    return blobs.get(key) if size <= INLINE_BYTES else data


def _named(writer: "Writer", value: Named) -> Ext:
    found = value.resolved()
    stored = found.stored
    writer.refs.update(dict.fromkeys(stored.blobs))
    key = stored.blobs[-1]
    data = content(stored.data, writer.blobs)
    # Small documents are taken over as they are: their nodes are the value's own.
    document = [msgspec.Raw(bytes(data[1:]))] if data[0] != f.POINTER else []
    return writer.node(f.ARTIFACT, [found.label, key, stored.digest, document])


@decodes(f.ARTIFACT)
def _to_value(reader: "Reader", payload: memoryview) -> Any:
    _, key, _, document = reader.decode(payload)
    return document[0] if document else loads(reader.blobs.get(key), reader.blobs)


def _resolve(cls: type) -> EncodeHandler | None:
    return _named if issubclass(cls, Named) else None


RESOLVERS.append(_resolve)
