"""The values in an encoded dict, each by itself, without decoding any of them."""

import msgspec

from perdure._ports import Blobs
from perdure._serde import format as f

_unpack = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_unpack_pointer = msgspec.msgpack.Decoder().decode


def parts(data: bytes, blobs: Blobs) -> dict[str, bytes]:
    """Return the values of a dict with text as keys, each encoded, in order.

    Raises:
        BlobMissingError: The value is not inline, and gone.
    """
    if not data:
        return {}
    if data[0] == f.POINTER:
        data = bytes(blobs.get(_unpack_pointer(data[1:])[0]))
    return {name: data[:1] + bytes(value) for name, value in _unpack(data[1:]).items()}
