"""Records: dataclasses, attrs classes, msgspec structs, named tuples and enums.

They are rebuilt field by field without calling ``__init__``: what was valid when it was encoded
is not validated again. A field that the class has gained since gets its default.
"""

import dataclasses
import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from perdure._serde import format as f
from perdure._serde.classes import encode_class
from perdure._serde.containers import encode_dict
from perdure._serde.format import Ext
from perdure._serde.registry import RESOLVERS, EncodeHandler, decodes

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer

_BUILTIN_DATA = (tuple, list, dict, set, frozenset, str, bytes, int, float, BaseException)


def _resolve(cls: type) -> EncodeHandler | None:
    if issubclass(cls, enum.Enum):
        return _enum
    if issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_make"):
        return _named_tuple
    names = _field_names(cls)
    if names is None or issubclass(cls, _BUILTIN_DATA) or _pickles_itself(cls):
        return None
    return _record_encoder(names)


RESOLVERS.append(_resolve)


def _field_names(cls: type) -> tuple[str, ...] | None:
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if "__attrs_attrs__" in dir(cls):
        return tuple(field.name for field in cls.__attrs_attrs__)  # type: ignore[attr-defined]
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    return None


def _pickles_itself(cls: type) -> bool:
    """Whether the author of the class decided how it is pickled: that has to be respected."""
    if issubclass(cls, msgspec.Struct):
        return cls.__reduce__ is not msgspec.Struct.__reduce__
    get_state = cls.__getstate__
    return (
        cls.__reduce__ is not object.__reduce__
        or cls.__reduce_ex__ is not object.__reduce_ex__
        or (
            get_state is not object.__getstate__
            and getattr(get_state, "__module__", "").partition(".")[0]
            not in ("dataclasses", "attr", "attrs")
        )
    )


def _record_encoder(names: tuple[str, ...]) -> Callable[["Writer", Any], Ext]:
    known = frozenset(names)

    def encode(writer: "Writer", value: Any) -> Ext:
        fields = {name: getattr(value, name) for name in names if hasattr(value, name)}
        extra = {k: v for k, v in getattr(value, "__dict__", {}).items() if k not in known}
        return writer.node(
            f.OBJECT,
            (
                encode_class(writer, type(value)),
                encode_dict(writer, fields),
                encode_dict(writer, extra) if extra else None,
            ),
        )

    return encode


@decodes(f.OBJECT)
def _to_record(reader: "Reader", payload: memoryview) -> object:
    cls, fields, extra = reader.decode(payload)
    if issubclass(cls, msgspec.Struct):  # cannot be made without its fields
        return cls(**fields)
    value = cls.__new__(cls)
    for name, content in (fields | (extra or {})).items():
        object.__setattr__(value, name, content)  # frozen classes forbid their own
    if dataclasses.is_dataclass(cls):
        _fill_defaults(cls, value, fields)
    return value


def _fill_defaults(cls: Any, value: object, fields: dict[str, Any]) -> None:
    for field in dataclasses.fields(cls):
        if field.name not in fields and not hasattr(value, field.name):
            if field.default is not dataclasses.MISSING:
                object.__setattr__(value, field.name, field.default)
            elif field.default_factory is not dataclasses.MISSING:
                object.__setattr__(value, field.name, field.default_factory())


def _enum(writer: "Writer", value: enum.Enum) -> Ext:
    # A combination of flags has no member of its own; its value identifies it.
    cls = type(value)
    named = cls.__members__.get(value.name or "") is value
    rest = (value.name, None) if named else (None, writer.encode(value.value))
    return writer.node(f.ENUM, (encode_class(writer, cls), *rest))


@decodes(f.ENUM)
def _to_enum(reader: "Reader", payload: memoryview) -> enum.Enum:
    cls, name, value = reader.decode(payload)
    member: enum.Enum = cls(value) if name is None else cls[name]
    return member


def _named_tuple(writer: "Writer", value: tuple[Any, ...]) -> Ext:
    return writer.node(
        f.NAMED_TUPLE, (encode_class(writer, type(value)), writer.encode_all(tuple(value)))
    )


@decodes(f.NAMED_TUPLE)
def _to_named_tuple(reader: "Reader", payload: memoryview) -> object:
    cls, items = reader.decode(payload)
    return tuple.__new__(cls, items)
