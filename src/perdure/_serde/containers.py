"""Lists, dicts, tuples, sets and the containers of ``collections``."""

from collections import Counter, OrderedDict, defaultdict, deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from perdure._serde import format as f
from perdure._serde.format import Deferred, Ext
from perdure._serde.registry import RESOLVERS, EncodeHandler, decodes, encodes
from perdure._serde.scalars import has_surrogates

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer

_STR = frozenset({str})


@encodes(list)
def _list(writer: "Writer", value: list[Any]) -> object:
    return writer.encode_all(value)


@encodes(dict)
def encode_dict(writer: "Writer", value: dict[Any, Any]) -> object:
    """Return a map if all keys are str, else a ``MAP`` node."""
    if len(value) > 1:
        writer.in_order = False
    if {*map(type, value)} <= _STR and not (writer.careful and any(map(has_surrogates, value))):
        return dict(zip(value, writer.encode_all(value.values()), strict=True))
    return writer.node(f.MAP, _pairs(writer, value))


def _pairs(writer: "Writer", value: dict[Any, Any]) -> list[object]:
    return writer.encode_all([x for pair in value.items() for x in pair])


@encodes(tuple)
def _tuple(writer: "Writer", value: tuple[Any, ...]) -> Ext:
    return writer.node(f.TUPLE, writer.encode_all(value))


@encodes(set)
def _set(writer: "Writer", value: set[Any]) -> Ext:
    return writer.node(f.SET, writer.encode_all(value))


@encodes(frozenset)
def _frozen_set(writer: "Writer", value: frozenset[Any]) -> Ext:
    return writer.node(f.FROZEN_SET, writer.encode_all(value))


@encodes(OrderedDict)
def _ordered_dict(writer: "Writer", value: OrderedDict[Any, Any]) -> Ext:
    return writer.node(f.ORDERED_DICT, _pairs(writer, value))


@encodes(defaultdict)
def _default_dict(writer: "Writer", value: defaultdict[Any, Any]) -> Ext:
    factory = writer.encode(value.default_factory)
    return writer.node(f.DEFAULT_DICT, (factory, encode_dict(writer, value)))


@encodes(Counter)
def _counter(writer: "Writer", value: Counter[Any]) -> Ext:
    return writer.node(f.COUNTER, encode_dict(writer, value))


@encodes(deque)
def _deque(writer: "Writer", value: deque[Any]) -> Ext:
    return writer.node(f.DEQUE, (value.maxlen, writer.encode_all(value)))


@encodes(SimpleNamespace)
def _namespace(writer: "Writer", value: SimpleNamespace) -> Ext:
    return writer.node(f.NAMESPACE, encode_dict(writer, vars(value)))


def _future(writer: "Writer", value: Deferred) -> Ext:
    writer.needs[value.action_id] = None
    return Ext(f.FUTURE, value.action_id)


def _resolve(cls: type) -> EncodeHandler | None:
    return _future if issubclass(cls, Deferred) else None


RESOLVERS.append(_resolve)


def _to_dict(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


@decodes(f.TUPLE)
def _to_tuple(reader: "Reader", payload: memoryview) -> tuple[Any, ...]:
    return tuple(reader.decode(payload))


@decodes(f.SET)
def _to_set(reader: "Reader", payload: memoryview) -> set[Any]:
    return set(reader.decode(payload))


@decodes(f.FROZEN_SET)
def _to_frozen_set(reader: "Reader", payload: memoryview) -> frozenset[Any]:
    return frozenset(reader.decode(payload))


@decodes(f.MAP)
def _to_map(reader: "Reader", payload: memoryview) -> dict[Any, Any]:
    return _to_dict(reader.decode(payload))


@decodes(f.ORDERED_DICT)
def _to_ordered_dict(reader: "Reader", payload: memoryview) -> OrderedDict[Any, Any]:
    return OrderedDict(_to_dict(reader.decode(payload)))


@decodes(f.DEFAULT_DICT)
def _to_default_dict(reader: "Reader", payload: memoryview) -> defaultdict[Any, Any]:
    return defaultdict(*reader.decode(payload))


@decodes(f.COUNTER)
def _to_counter(reader: "Reader", payload: memoryview) -> Counter[Any]:
    return Counter(reader.decode(payload))


@decodes(f.DEQUE)
def _to_deque(reader: "Reader", payload: memoryview) -> deque[Any]:
    maxlen, items = reader.decode(payload)
    return deque(items, maxlen)


@decodes(f.NAMESPACE)
def _to_namespace(reader: "Reader", payload: memoryview) -> SimpleNamespace:
    return SimpleNamespace(**reader.decode(payload))
