"""Type hints as values, made of classes, literals and unions: so that they can be asked for again.

Nothing is loaded with them that is not asked for: a hint is bytes among the inputs of an action.
"""

import functools
import operator
import typing
from enum import EnumType
from types import UnionType
from typing import Any

from perdure._ports import Blobs
from perdure._serde.decode import loads
from perdure._serde.encode import dumps
from perdure._serde.format import PLAIN, Encoded

_LITERAL, _UNION, _OF, _ANY = "literal", "union", "of", "any"


def dump_hint(hint: object, blobs: Blobs) -> Encoded:
    """Encode a type hint.

    Raises:
        TypeError: It is none, or of a kind that values cannot be checked against.
    """
    return dumps(_form(hint), blobs)


def load_hint(data: bytes, blobs: Blobs) -> Any:
    """Return the type hint.

    Raises:
        SerializationError: A class in it cannot be imported.
    """
    return _made(loads(data, blobs))


def is_plain(data: bytes) -> bool:
    """Whether no class has to be imported for the hint."""
    return data[0] == PLAIN


def choices_of(hint: object) -> list[str]:
    """Return how the values of a hint are written, if there are but a few; otherwise nothing."""
    if hint is bool:
        return ["true", "false"]
    if typing.get_origin(hint) is typing.Literal:
        return [str(each) for each in typing.get_args(hint)]
    return list(hint.__members__) if isinstance(hint, EnumType) else []


def _form(hint: object) -> object:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is None:
        return type(None)
    if hint is Any:
        return [_ANY]
    if origin is typing.Literal:
        return [_LITERAL, *args]
    if origin is typing.Annotated:
        return _form(args[0])
    if origin in (typing.Union, UnionType):
        return [_UNION, *map(_form, args)]
    if isinstance(origin, type):
        return [_OF, origin, *(arg if arg is ... else _form(arg) for arg in args)]
    if isinstance(hint, type):
        return hint
    raise TypeError(f"{hint!r} is no type")


def _made(form: Any) -> Any:
    if not isinstance(form, list):
        return form
    kind, *args = form
    if kind == _ANY:
        return Any
    if kind == _LITERAL:
        return typing.Literal[tuple(args)]
    if kind == _UNION:
        return functools.reduce(operator.or_, map(_made, args))
    origin, *inner = args
    return origin[tuple(map(_made, inner))]
