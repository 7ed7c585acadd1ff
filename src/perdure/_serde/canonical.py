"""The canonical form of an encoded value: what its digest is taken of.

It is derived from the encoded bytes alone: the document is decoded into dicts, lists and nodes and
encoded again with the entries of dicts in the order of their keys. Nodes whose payload holds more
than the value's identity, or has no order of its own, have a rule here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from perdure._serde import format as f
from perdure._serde.format import Ext

_OPAQUE = frozenset({f.RAW, f.BLOB, f.FUTURE, f.BIG_INT, f.STR, f.COMPLEX, f.UUID})

Decode = Callable[[bytes | memoryview], Any]

pack = msgspec.msgpack.Encoder(order="deterministic").encode
"""Encodes what a decoder of this module has returned."""


def canonical(body: bytes | memoryview) -> bytes:
    """Return the canonical form of a msgpack document with nodes."""
    return pack(_decode(body))


def decoder(instead: Mapping[int, Callable[[memoryview], Any]]) -> Decode:
    """Return what decodes documents such that packing the result gives their canonical form.

    Args:
        instead: What stands for nodes of these codes, made of their payload.
    """

    def node(code: int, payload: memoryview) -> Any:
        if code in instead:
            return instead[code](payload)
        if code == f.ARTIFACT:
            _, _, digest, document = decode(payload)
            return document[0] if document else Ext(code, digest)  # its value; its name is no part
        if code in _OPAQUE:
            return Ext(code, bytes(payload))
        rule = _RULES.get(code)
        content = decode(payload)
        return Ext(code, pack(rule(content) if rule else content))

    decode: Decode = msgspec.msgpack.Decoder(ext_hook=node).decode
    return decode


_decode = decoder({})


def _unordered(items: list[Any]) -> list[Any]:
    return sorted(map(pack, items))


def _unordered_pairs(flat: list[Any]) -> list[Any]:
    keys = map(pack, flat[::2])
    return sorted(zip(keys, map(pack, flat[1::2]), strict=True))


def _first_two(content: list[Any]) -> list[Any]:
    return content[:2]


def _data_frame(content: list[Any]) -> list[Any]:
    """Keep the columns, not the file that holds them; or what its maker says stands for them."""
    opened, columns, _, _, _, *given = content
    return [opened, *given] if given else [opened, columns]


def _file(content: list[Any]) -> list[Any]:
    """Keep what is in a file, or what its maker says stands for that: a name is only a label."""
    digest, _, _, _, given = content
    return [given or digest]


def _folder(content: list[Any]) -> list[Any]:
    _, _, given, entries = content
    return [given or entries]


_RULES: dict[int, Callable[[list[Any]], list[Any]]] = {
    f.SET: _unordered,
    f.FROZEN_SET: _unordered,
    f.MAP: _unordered_pairs,
    f.CLASS: _first_two,  # the name, not the pickle of its code
    f.OBJECT: _first_two,  # the fields, not what was cached on the instance
    f.MODEL: _first_two,
    f.ARROW: _first_two,  # the content's digest, not its chunks
    f.POLARS: _first_two,
    f.DATA_FRAME: _data_frame,
    f.FILE: _file,
    f.DIR: _folder,
}

REORDERED = frozenset({*_RULES, f.ERROR, f.ARTIFACT})
"""Codes of nodes whose canonical form can differ from the encoded one, apart from dicts in them."""
