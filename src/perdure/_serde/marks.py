"""What a cache key says of each input of a call: its digest, and a picture for people.

Both are made of the encoded bytes, with no class of the user's. A future in an input counts as the
value it has come to have, so that it makes no difference in which way a value reaches a task.
"""

from collections.abc import Collection, Mapping

import msgspec

from perdure._core.ids import digest
from perdure._core.model import InputMark
from perdure._ports import Blobs
from perdure._serde import format as f
from perdure._serde.canonical import decoder, pack
from perdure._serde.parts import parts
from perdure._serde.preview import preview

PREVIEW = 80
"""Characters of an input's picture."""

_NO_VALUES: Mapping[bytes, bytes] = {}

_pointer = msgspec.msgpack.Decoder(tuple[bytes, int, str]).decode


def input_marks(
    inputs: bytes,
    blobs: Blobs,
    *,
    ignored: Collection[str] = (),
    values: Mapping[bytes, bytes] = _NO_VALUES,
) -> dict[str, InputMark] | None:
    """Return what a key says of each input, by name; None if that cannot be known.

    It cannot if a future is inside a pickle: what it stands for is not to be seen there.

    Args:
        inputs: The encoded inputs of a call, a dict by name.
        blobs: Where their large parts are.
        ignored: Names of inputs that are left out.
        values: Encoded values of the futures in the inputs, by action id.

    Raises:
        BlobMissingError: A large part is gone.
    """
    met: set[bytes] = set()

    def value_of(payload: memoryview) -> object:
        action = bytes(payload)
        met.add(action)
        return decode(_body(values[action], blobs))

    decode = decoder({f.FUTURE: value_of})
    try:
        found = parts(inputs, blobs)
    except msgspec.DecodeError:
        return None  # too deep to be taken apart: a pickle as a whole
    marks: dict[str, InputMark] = {}
    for name, part in found.items():
        canon = pack(decode(part[1:]))
        if name not in ignored:
            marks[name] = InputMark(digest(canon), preview(part, PREVIEW, values))
    return marks if len(met) == len(values) else None


def _body(data: bytes | memoryview, blobs: Blobs) -> bytes | memoryview:
    """Return the msgpack document of an encoded value."""
    if data[0] == f.POINTER:
        return _body(blobs.get(_pointer(data[1:])[0]), blobs)
    return memoryview(data)[1:]
