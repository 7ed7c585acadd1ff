"""What a class itself defines, of what is in its namespace."""

import dataclasses
import enum
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from perdure._version.describe import attributes_of

_GENERATED = frozenset(
    (
        "__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__firstlineno__",
        "__static_attributes__", "__annotations__", "__annotate__", "__annotate_func__",
        "__annotations_cache__", "__dataclass_fields__", "__match_args__", "__slots__",
        "__abstractmethods__", "_abc_impl", "__parameters__", "__orig_bases__", "__signature__",
        "__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__", "__class_vars__",
        "__private_attributes__", "__type_params__",
    )
)  # fmt: skip

_METHODS = (staticmethod, classmethod, property)


def members_of(cls: type) -> Iterator[tuple[str, object]]:
    """Yield what a class itself defines, without what is derived from it."""
    if issubclass(cls, enum.Enum):
        yield "members", [(each.name, each.value) for each in cls]
    if dataclasses.is_dataclass(cls) and "__dataclass_fields__" in cls.__dict__:
        for field in dataclasses.fields(cls):
            yield f"field {field.name}", _rules(field)
    for name, info in cls.__dict__.get("__pydantic_fields__", {}).items():
        yield f"field {name}", (info.default, info.default_factory)
    for name, value in sorted(cls.__dict__.items()):
        if name in _GENERATED or name.startswith("__pydantic_"):
            continue
        if isinstance(value, FunctionType):
            if not is_generated(value):
                yield name, value
        elif type(value).__name__ in ("member_descriptor", "getset_descriptor"):
            continue
        elif name == "__dataclass_params__":
            yield name, repr(value)
        elif not issubclass(cls, enum.Enum) or isinstance(value, _METHODS):
            yield name, value


def is_generated(method: FunctionType) -> bool:
    """Whether a dataclass decorator or the like has made the method: it follows from the fields."""
    method = attributes_of(method).get("__wrapped__", method)
    return method.__code__.co_filename.startswith(("<string>", "<attrs"))


def _rules(field: "dataclasses.Field[Any]") -> tuple[object, ...]:
    default = None if field.default is dataclasses.MISSING else (field.default,)
    factory = None if field.default_factory is dataclasses.MISSING else field.default_factory
    return default, factory, field.init, field.compare, field.kw_only
