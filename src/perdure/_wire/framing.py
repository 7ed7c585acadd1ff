"""Frames: a 4-byte big-endian length, then a msgpack array of messages."""

from collections.abc import Sequence

import msgspec

from perdure._wire.messages import FromWorker, Message, ToWorker
from perdure.errors import ProtocolError

HEADER_BYTES = 4
MAX_FRAME_BYTES = 1 << 30

_encoder = msgspec.msgpack.Encoder()
decode_from_worker = msgspec.msgpack.Decoder(list[FromWorker]).decode
decode_to_worker = msgspec.msgpack.Decoder(list[ToWorker]).decode


def encode(messages: list[Message]) -> bytearray:
    """Return one frame holding ``messages``."""
    buffer = bytearray(HEADER_BYTES)
    _encoder.encode_into(messages, buffer, HEADER_BYTES)
    buffer[:HEADER_BYTES] = (len(buffer) - HEADER_BYTES).to_bytes(HEADER_BYTES, "big")
    return buffer


class FrameReader:
    """Cuts a byte stream into the bodies of its frames.

    The bodies may be views of what was fed: they are to be decoded before that is overwritten.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Sequence[bytes | memoryview]:
        """Add ``data`` and return the bodies of all frames that are complete now.

        Raises:
            ProtocolError: A frame announces more than ``MAX_FRAME_BYTES``.
        """
        buffer = self._buffer
        if not buffer and int.from_bytes(data[:HEADER_BYTES], "big") == len(data) - HEADER_BYTES:
            return (memoryview(data)[HEADER_BYTES:],)  # exactly one frame, as most often
        buffer += data
        bodies, at = [], 0
        while len(buffer) - at >= HEADER_BYTES:
            size = int.from_bytes(buffer[at : at + HEADER_BYTES], "big")
            if size > MAX_FRAME_BYTES:
                raise ProtocolError(f"a frame of {size} bytes was announced")
            end = at + HEADER_BYTES + size
            if len(buffer) < end:
                break
            bodies.append(bytes(buffer[at + HEADER_BYTES : end]))
            at = end
        if at:
            del buffer[:at]
        return bodies
