"""What a hint such as ``Annotated[DataFrame, {"id": int, "name": str}]`` asks of a table."""

import datetime as dt
import re
import typing
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from perdure._serde.typecheck import Mismatch, name_of
from perdure.errors import ConfigurationError
from perdure.io._stored import FORMATS

if TYPE_CHECKING:
    from perdure.io._dataframe import DataFrame

_NAMES: dict[Any, str] = {
    bool: "bool",
    int: r"u?int\d+",
    float: "halffloat|float|double",
    str: "string|category<string>",
    bytes: r"binary|fixed_size_binary.*",
    Decimal: "decimal.*",
    dt.datetime: r"timestamp\[.*",
    dt.date: r"date\d+.*",
    dt.time: r"time\d+.*",
    dt.timedelta: r"duration\[.*",
    list: "list<.*",
    dict: "struct<.*|map<.*",
    Any: ".*",
}
"""Which logical names of types satisfy a Python type."""


class Narrowing:
    """The columns and the format that a hint asks for: what is passed has no others.

    Args:
        metadata: What stands in ``Annotated`` beside the class: a dict of column names and types,
            a class with annotations, a ``pyarrow.Schema``, a format.

    Raises:
        ConfigurationError: There is no such format, or it is not known what a column's type means.
    """

    def __init__(self, metadata: tuple[Any, ...]) -> None:
        self.format: str | None = None
        self.columns: dict[str, tuple[str, str]] = {}
        for each in metadata:
            if isinstance(each, str):
                self.format = checked_format(each)
            elif (wanted := _columns(each)) is not None:
                self.columns |= {name: (_shown(kind), _pattern(kind)) for name, kind in wanted}
        shown = _all({name: kind for name, (kind, _) in self.columns.items()})
        self.name = f"DataFrame with the columns {shown}"

    def __call__(self, value: "DataFrame") -> "DataFrame":
        """Return the table with these columns, in this format if it is still to be stored.

        Raises:
            Mismatch: It lacks a column, or one of them has another type.
        """
        if self.columns:
            found = value.types
            for name, (shown, pattern) in self.columns.items():
                if name not in found:
                    raise Mismatch(
                        self.name, value, f"it has no column {name!r}, only {_all(found)}"
                    )
                if not re.fullmatch(pattern, found[name]):
                    reason = f"column {name!r} is {found[name]}, not {shown}"
                    raise Mismatch(self.name, value, reason)
            value = value.select(list(self.columns))
        return value if self.format is None else value._stored_as(self.format)


def checked_format(name: str) -> str:
    """Return the name of a format, if it is one.

    Raises:
        ConfigurationError: It is not.
    """
    if name not in FORMATS:
        raise ConfigurationError(
            f"a DataFrame cannot be stored as {name!r}", hint=f"choose from {', '.join(FORMATS)}"
        )
    return name


def _all(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in columns.items())


def _columns(asked: Any) -> list[tuple[str, Any]] | None:
    if isinstance(asked, Mapping):
        return list(asked.items())
    if isinstance(asked, type):
        return list(typing.get_type_hints(asked).items())
    if hasattr(asked, "names") and hasattr(asked, "types"):  # a pyarrow.Schema
        return list(zip(asked.names, asked.types, strict=True))
    return None


def _shown(kind: Any) -> str:
    return name_of(kind) if isinstance(kind, type) or typing.get_origin(kind) else str(kind)


def _pattern(kind: Any) -> str:
    origin = typing.get_origin(kind) or kind
    if isinstance(origin, type) or origin is Any:
        if origin in _NAMES:
            return _NAMES[origin]
    elif type(kind).__module__.startswith("pyarrow"):
        from perdure._serde.arrowhash import logical_name

        return re.escape(logical_name(kind))
    raise ConfigurationError(
        f"it is not known which columns are {_shown(kind)}",
        hint=f"use a pyarrow type, or one of {', '.join(map(name_of, _NAMES))}",
    )
