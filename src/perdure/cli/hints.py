"""From text to values: how a command-line argument becomes what a type hint asks for.

Scalars are read as people write them; everything compound is JSON, or ``@file`` for JSON in a file.
The values are checked once more, like those of any call, when they are bound to the task.
"""

import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import json
import pathlib
import sys
import types
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from perdure.errors import PerdureError

Parse = Callable[[str], object]


class Reader(NamedTuple):
    """How values of one type are written.

    Attributes:
        shown: What stands for a value in help texts, e.g. ``INTEGER``.
        parse: Turns text into a value; raises ``ValueError`` with what was expected.
    """

    shown: str
    parse: Parse


_TABLES = frozenset((
    "pandas.DataFrame", "polars.DataFrame", "polars.LazyFrame", "pyarrow.Table",
))  # fmt: skip
"""Classes that a table may be read as: asked for by name, so as not to import their libraries."""


def reader(hint: object) -> Reader:
    """Return how values of the type ``hint`` are written on a command line."""
    if get_origin(hint) is Annotated:
        return reader(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return _union(get_args(hint))
    if get_origin(hint) is Literal:
        return _choice({str(value): value for value in get_args(hint)})
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum(hint)
    if hint in (inspect.Parameter.empty, Any, object):
        return Reader("VALUE", _anything)
    if isinstance(hint, type) and issubclass(hint, pathlib.PurePath):
        return Reader("PATH", hint)
    if by_path := _by_path(hint):
        return by_path
    for plain, simple in _SIMPLE.items():
        if hint is plain:
            return simple
    return Reader("JSON", lambda text: _structured(text, hint))


def is_flag(hint: object) -> bool:
    """Whether the type is ``bool``, ``None`` aside: such parameters are ``--x/--no-x``."""
    if get_origin(hint) is Annotated:
        return is_flag(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not type(None)]
        return len(members) == 1 and is_flag(members[0])
    return hint is bool


def _union(members: tuple[object, ...]) -> Reader:
    # str accepts everything, so it has the last word
    options = [member for member in members if member not in (type(None), str)]
    options += [member for member in members if member is str]
    readers = [reader(member) for member in options]
    optional = type(None) in members
    shown = "|".join(dict.fromkeys(each.shown for each in readers))

    def parse(text: str) -> object:
        if optional and text.lower() in ("none", "null"):
            return None
        problems = []
        for each in readers:
            try:
                return each.parse(text)
            except ValueError as problem:
                problems.append(str(problem))
        raise ValueError("; ".join(dict.fromkeys(problems)))

    return Reader(shown, parse)


def _by_path(hint: Any) -> Reader | None:
    """Return how what is stored is given: by a path or URL, copied into storage right away."""
    cls: Any = get_origin(hint) or hint
    if not inspect.isclass(cls):
        return None
    if f"{cls.__module__.partition('.')[0]}.{cls.__name__}" in _TABLES:
        return _table()
    io = sys.modules.get("perdure.io")  # whoever has such a hint has imported it
    if io is None or not issubclass(cls, io.File | io.Dir | io.DataFrame):
        return None
    if issubclass(cls, io.DataFrame):
        return _table()
    make: Callable[[str], Any] = getattr(cls, "from_existing")  # noqa: B009  # of both

    def parse(text: str) -> object:
        try:
            made = make(text)
            _ = made.size  # it has to be there, and to be what it is said to be
        except PerdureError as problem:
            raise ValueError(problem.message) from None
        return made

    return Reader("FOLDER" if issubclass(cls, io.Dir) else "FILE", parse)


def _table() -> Reader:
    """Return how a table is given: as a file of it, whatever library will read it."""

    def parse(text: str) -> object:
        from perdure.io import DataFrame

        try:
            return DataFrame.from_existing(text)
        except PerdureError as problem:
            raise ValueError(problem.message) from None

    return Reader("TABLE", parse)


def _choice(choices: dict[str, object]) -> Reader:
    def parse(text: str) -> object:
        if text in choices:
            return choices[text]
        loose = [name for name in choices if name.lower() == text.lower()]
        if len(loose) == 1:
            return choices[loose[0]]
        raise ValueError(f"choose one of {', '.join(choices)}")

    return Reader("|".join(choices), parse)


def _enum(cls: type[enum.Enum]) -> Reader:
    names: dict[str, object] = dict(cls.__members__)
    by_value = {str(member.value): member for member in cls}
    choice = _choice({**by_value, **names})
    return Reader("|".join(names), choice.parse)


def _number(kind: type[int] | type[float], name: str) -> Parse:
    def parse(text: str) -> object:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is not {name}") from None

    return parse


def _bool(text: str) -> bool:
    value = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
        text.lower()
    )
    if value is None:
        raise ValueError(f"{text!r} is neither true nor false")
    return value


def _bytes(text: str) -> bytes:
    return _file(text).read_bytes() if text.startswith("@") else text.encode()


def _anything(text: str) -> object:
    if text.startswith("@"):
        return _json(text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _converted(kind: type, example: str) -> Parse:
    def parse(text: str) -> object:
        try:
            return msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError:
            raise ValueError(f"{text!r} does not read like {example}") from None

    return parse


def _structured(text: str, hint: Any) -> object:
    value = _json(text)
    try:
        made = msgspec.convert(value, hint, str_keys=True, dec_hook=_build)
    except msgspec.ValidationError as problem:
        raise ValueError(f"{problem}") from None
    except TypeError as problem:
        raise ValueError(f"a value of this type cannot be given as text ({problem})") from None
    _refuse_unknown(value, made, "$")
    return made


def _refuse_unknown(given: object, made: object, path: str) -> None:
    """Refuse names that a dataclass does not have: a misspelt option must not be ignored."""
    if isinstance(given, dict) and dataclasses.is_dataclass(made):
        fields = [field.name for field in dataclasses.fields(made)]
        for name, part in given.items():
            if name not in fields:
                kind = type(made).__name__
                raise ValueError(
                    f"{kind} has no {name!r} - at `{path}`; it has {', '.join(fields)}"
                )
            _refuse_unknown(part, getattr(made, name), f"{path}.{name}")
    elif isinstance(given, dict) and isinstance(made, dict):
        for (name, part), value in zip(given.items(), made.values(), strict=False):
            _refuse_unknown(part, value, f"{path}.{name}")
    elif isinstance(given, list) and isinstance(made, list | tuple):
        for index, (part, value) in enumerate(zip(given, made, strict=False)):
            _refuse_unknown(part, value, f"{path}[{index}]")


def _build(cls: type, value: object) -> object:
    """Build what msgspec does not know from plain data: files, folders, pydantic models."""
    if isinstance(value, str) and (by_path := _by_path(cls)):
        made: Any = by_path.parse(value)
        return made if isinstance(made, cls) else made.open(cls).all_sync()
    validate = getattr(cls, "model_validate", None)
    if validate is None:
        raise TypeError(f"{cls.__qualname__}: pass it from Python, with perdure.run")
    return validate(value)


def _json(text: str) -> object:
    source = _file(text).read_text(encoding="utf-8") if text.startswith("@") else text
    try:
        return json.loads(source)
    except ValueError as problem:
        raise ValueError(
            f"{text!r} is not JSON ({problem}); quote it for the shell, or use @FILE"
        ) from None


def _file(text: str) -> pathlib.Path:
    path = pathlib.Path(text[1:])
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    return path


_SIMPLE: dict[object, Reader] = {
    bool: Reader("BOOLEAN", _bool),
    int: Reader("INTEGER", _number(int, "a whole number")),
    float: Reader("NUMBER", _number(float, "a number")),
    str: Reader("TEXT", str),
    bytes: Reader("BYTES", _bytes),
    decimal.Decimal: Reader("DECIMAL", _converted(decimal.Decimal, "1.50")),
    uuid.UUID: Reader("UUID", _converted(uuid.UUID, "6fa459ea-ee8a-3ca4-894e-db77e160355e")),
    dt.datetime: Reader("DATETIME", _converted(dt.datetime, "2026-01-31T12:30:00")),
    dt.date: Reader("DATE", _converted(dt.date, "2026-01-31")),
    dt.time: Reader("TIME", _converted(dt.time, "12:30:00")),
    dt.timedelta: Reader("DURATION", _converted(dt.timedelta, "PT90S, or 90")),
}
