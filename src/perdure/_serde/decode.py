"""Bytes to values."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from perdure._ports import Blobs
from perdure._serde import format as f
from perdure._serde.registry import DECODERS, decodes, find_decoder
from perdure.errors import BlobCorruptError, SerializationError

_unpack: Callable[[bytes | memoryview], Any] = msgspec.msgpack.Decoder().decode


def loads(
    data: bytes | memoryview, blobs: Blobs, futures: Mapping[bytes, bytes] | None = None
) -> Any:
    """Decode a value.

    Args:
        data: As :func:`dumps` made it.
        blobs: Where its large parts are; buffers are read in place, so arrays are read-only.
        futures: Encoded values, by action id, that take the place of futures in the value.

    Raises:
        SerializationError: A class cannot be imported, a future has no value, or the bytes are not
            an encoded value.
        BlobMissingError: A part is gone.
    """
    kind = data[0] if len(data) else -1
    try:
        if kind == f.PLAIN:
            return _unpack(data[1:])
        if kind == f.TAGGED:
            return Reader(blobs, futures).decode(memoryview(data)[1:])
        if kind == f.POINTER:
            return loads(blobs.get(_unpack(data[1:])[0]), blobs, futures)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SerializationError(
            f"an encoded value cannot be read: {error}",
            hint="the data is damaged, or nested too deeply for this point of the program",
        ) from error
    raise SerializationError(
        f"these {len(data)} bytes are not an encoded value",
        hint="they are damaged or were written by a newer release of perdure",
    )


class Reader:
    """Decodes one document with nodes.

    Attributes:
        blobs: Where buffers are.
        decode: Decodes a msgpack document, the payload of a node included.
        private: Whether buffers may be written to, seen by nobody else.
    """

    def __init__(self, blobs: Blobs, futures: Mapping[bytes, bytes] | None) -> None:
        self.blobs = blobs
        self.private = False
        self.decode: Callable[[bytes | memoryview], Any] = msgspec.msgpack.Decoder(
            ext_hook=self.node
        ).decode
        self._futures = futures

    def node(self, code: int, payload: memoryview) -> object:
        """Return the value of a node."""
        return (DECODERS.get(code) or find_decoder(code))(self, payload)

    def decode_private(self, payload: memoryview) -> Any:
        """Decode a document such that its buffers may be written to, seen by nobody else."""
        outer, self.private = self.private, True
        try:
            return self.decode(payload)
        finally:
            self.private = outer

    def future(self, action_id: bytes) -> object:
        """Return the value that takes the place of a future."""
        if self._futures is None or action_id not in self._futures:
            raise SerializationError(
                f"the value of action {action_id.hex()} is not at hand",
                hint="the value contains a future; wait for its action to succeed",
            )
        return loads(self._futures[action_id], self.blobs, self._futures)


@decodes(f.RAW)
def _raw(reader: Reader, payload: memoryview) -> memoryview:
    # A copy: the payload's place in the document is not aligned for arrays.
    return memoryview(bytearray(payload) if reader.private else bytes(payload))


@decodes(f.BLOB)
def _blob(reader: Reader, payload: memoryview) -> memoryview:
    digest, size = bytes(payload[:32]), int.from_bytes(payload[32:])
    view = reader.blobs.get(digest, private=reader.private)
    if len(view) != size:
        raise BlobCorruptError(
            f"blob {digest.hex()} has {len(view):,} bytes instead of {size:,}",
            hint="restore it from a copy, or delete it and make its value again: "
            "perdure rerun RUN --no-recover",
        )
    return view


@decodes(f.FUTURE)
def _future(reader: Reader, payload: memoryview) -> object:
    return reader.future(bytes(payload))
