"""Dataclasses and pydantic models made of dicts, where a hint asks for such a class.

Callers may then pass plain data, as they do on the command line, and leave out what has a default.
Each entry is checked against the hint of its field, so that dicts may hold dicts.
"""

import dataclasses
import sys
import typing
from typing import Any

from perdure._serde import typecheck
from perdure._serde.classes import type_name
from perdure._serde.typecheck import Mismatch


def _coerce(cls: type, value: Any) -> object:
    if not isinstance(value, dict):
        return NotImplemented
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls, value)
    pydantic = sys.modules.get("pydantic")  # whoever has such a class has imported it
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return _model(cls, value)
    return NotImplemented


def _dataclass(cls: Any, value: dict[Any, Any]) -> object:
    taken = [each for each in dataclasses.fields(cls) if each.init]
    names = {each.name for each in taken}
    if unknown := sorted(str(key) for key in value if key not in names):
        raise Mismatch(type_name(cls), value, f"it has no {', '.join(unknown)}")
    if missing := [each.name for each in taken if each.name not in value and _is_required(each)]:
        raise Mismatch(type_name(cls), value, f"missing {', '.join(missing)}")
    hints = _hints(cls)
    entries = {
        name: typecheck.at(typecheck.checker(hints.get(name, Any)), item, f"[{name!r}]")
        for name, item in value.items()
    }
    try:
        return cls(**entries)
    except (TypeError, ValueError) as error:  # of its __post_init__
        raise Mismatch(type_name(cls), value, str(error)) from error


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError:  # of something that is imported for type checkers only
        return {}


def _model(cls: Any, value: dict[Any, Any]) -> object:
    try:
        return cls.model_validate(value)
    except ValueError as error:
        problems: list[Any] = getattr(error, "errors", list)()
        told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problems]
        raise Mismatch(type_name(cls), value, "; ".join(told) or str(error)) from error


typecheck.COERCIONS.append(_coerce)
