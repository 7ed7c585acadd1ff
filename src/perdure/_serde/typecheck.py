"""Type hints as checks of values.

A hint is compiled once into a :class:`Check`: the exact types it accepts as they are, and a
function for everything else. Containers are looked through (a list of a million floats costs one
pass at C speed), iterators never are. Where a hint cannot be understood, anything is accepted.
"""

import collections.abc as abc
import functools
import os
import pathlib
import reprlib
import sys
import types
import typing
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from perdure._serde.classes import type_name
from perdure._serde.format import Deferred
from perdure._serde.named import Named

arrived: ContextVar[bool] = ContextVar("perdure_arrived", default=False)
"""Whether values are checked where they are used at once, rather than before their way there."""

COERCIONS: list[Callable[[type, Any], object]] = []
"""Asked in turn about a value that is no instance of a hint's class: what to take in its place,
or NotImplemented. What only has to be read where it is used may be put off until it has arrived."""

NARROWINGS: dict[type, Callable[[tuple[Any, ...]], Callable[[Any], object]]] = {}
"""What else ``Annotated`` asks of values of a class, made of what stands in it beside the class."""

_MAX_VALUE = 100
_CALLABLE: Any = abc.Callable


class Mismatch(Exception):
    """A value does not fit a type hint.

    Attributes:
        path: Where inside the value, e.g. ``[3]`` or ``['depth'][0]``; "" for the value itself.
        expected: The hint, as people write it.
        actual: Name of the type that was found.
        value: The value that was found, shortened.
        reason: More about it; may be empty.
    """

    def __init__(self, expected: str, value: object, reason: str = "") -> None:
        super().__init__()
        self.path = ""
        self.expected = expected
        self.actual = type_name(type(value))
        self.value = _short(value)
        self.reason = reason

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        why = f" ({self.reason})" if self.reason else ""
        return f"{where}expected {self.expected}, got {self.actual} {self.value}{why}"


class Check:
    """A compiled type hint: call it with a value, get the (possibly coerced) value."""

    __slots__ = ("exact", "name", "other")

    def __init__(
        self, name: str, exact: Iterable[type], other: Callable[[Any], object] | None = None
    ) -> None:
        self.name = name
        self.exact = frozenset(exact)
        self.other = other or self._refuse

    def __call__(self, value: object) -> object:
        if type(value) in self.exact or isinstance(value, Deferred):
            return value
        return self._named(value) if isinstance(value, Named) else self.other(value)

    def _named(self, value: Named) -> object:
        """Check what will arrive; a value that had to be coerced goes without its name."""
        found = value.resolved()
        content = found.value()
        checked = self(content)
        return found if checked is content else checked

    def _refuse(self, value: object) -> object:
        raise Mismatch(self.name, value)


def checker(annotation: object) -> Callable[[object], object]:
    """Return the check of a type hint.

    The check returns the value, coerced where the hint asks for it (an int where a float is
    expected, a numpy scalar where a number is), or raises :class:`Mismatch`. Futures pass
    unchecked. The path of a mismatch starts inside the value; put the parameter's name before it.
    """
    return _compile(annotation)


def _compile(annotation: object) -> Check:
    try:
        return _compile_cached(annotation)
    except TypeError:  # unhashable, e.g. Annotated with a dict
        return _build(annotation)


def _short(value: object) -> str:
    try:
        text = reprlib.repr(value)
    except Exception:
        return "<no repr>"
    text = " ".join(text.split())
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"


def name_of(annotation: object) -> str:
    """Return a type hint as people write it."""
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return type_name(annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(name_of, args))
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if isinstance(origin, type) and args and origin is not _CALLABLE:
        inner = ", ".join("..." if arg is ... else name_of(arg) for arg in args)
        return f"{type_name(origin).removeprefix('collections.abc.')}[{inner}]"
    name = getattr(annotation, "__name__", None)
    return name if isinstance(name, str) else str(annotation).replace("typing.", "")


# --- compilation ----------------------------------------------------------------------------------


def _anything(name: str = "Any") -> Check:
    return Check(name, (), lambda value: value)


def _build(annotation: object) -> Check:
    if annotation in (Any, object, abc.Hashable) or isinstance(annotation, str | typing.ForwardRef):
        return _anything()
    if annotation is None:
        return Check("None", (type(None),))
    if special := _build_special(annotation):
        return special
    origin = typing.get_origin(annotation)
    if origin in _GENERIC:
        return _GENERIC[origin](annotation, typing.get_args(annotation))
    if origin is type:
        return _type_check(annotation, typing.get_args(annotation))
    target = origin or annotation
    if not isinstance(target, type):
        return _anything(name_of(annotation))
    if target in _SCALARS:
        return _SCALARS[target]
    if _is_typeddict(target):
        return _typed_dict(target)
    if getattr(target, "_is_protocol", False) and not getattr(
        target, "_is_runtime_protocol", False
    ):
        return _anything(name_of(annotation))
    return _instance(target, name_of(annotation))


def _build_special(annotation: Any) -> Check | None:
    """Compile what is not a class: unions, literals, aliases, type variables."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _union(annotation, args)
    if origin is typing.Literal:
        return _literal(annotation, args)
    if origin is typing.Annotated and args[0] in NARROWINGS:
        return _narrowed(args[0], NARROWINGS[args[0]](annotation.__metadata__))
    if origin in _WRAPPERS:
        return _compile(args[0])
    if isinstance(annotation, typing.TypeVar):
        if annotation.__constraints__:
            return _union(annotation, annotation.__constraints__)
        return _compile(annotation.__bound__ or Any)
    if isinstance(annotation, typing.NewType):
        return _compile(annotation.__supertype__)
    for alias in (annotation, origin):  # X, or the X of X[int]
        if type(alias).__name__ == "TypeAliasType":
            return _alias(alias, args)
    return None


def _narrowed(cls: type, narrow: Callable[[Any], object]) -> Check:
    check = _compile(cls)
    return Check(check.name, (), lambda value: narrow(check(value)))


def _alias(alias: Any, args: tuple[Any, ...]) -> Check:
    """Compile ``type X = ...`` when it is first used: it may refer to itself."""

    def check(value: object) -> object:
        return _compile(alias.__value__[args] if args else alias.__value__)(value)

    return Check(alias.__name__, (), check)


_compile_cached = functools.lru_cache(maxsize=4096)(_build)
_WRAPPERS = (
    typing.Annotated, typing.Final, typing.ClassVar, typing.Required, typing.NotRequired,
)  # fmt: skip


def _instance(cls: type, name: str) -> Check:
    if issubclass(cls, pathlib.PurePath):
        reason = f"write {cls.__name__}(...)"
        cls = os.PathLike
    else:
        reason = getattr(cls, "_perdure_advice", "")  # of perdure.io: how to make one of a path

    def check(value: object) -> object:
        if isinstance(value, cls):
            return value
        for coerce in COERCIONS:
            if (coerced := coerce(cls, value)) is not NotImplemented:
                return coerced
        raise Mismatch(name, value, reason if isinstance(value, str) else "")

    return Check(name, (cls,), check)


def _type_check(annotation: object, args: tuple[Any, ...]) -> Check:
    name = name_of(annotation)
    wanted = args[0] if args and isinstance(args[0], type) else object

    def check(value: object) -> object:
        if isinstance(value, type) and issubclass(value, wanted):
            return value
        raise Mismatch(name, value)

    return Check(name, (), check)


def _union(annotation: object, args: tuple[Any, ...]) -> Check:
    name = name_of(annotation)
    members = [_compile(arg) for arg in args]
    several = sum(member.name != "None" for member in members) > 1

    def check(value: object) -> object:
        coerced, problems = [], []
        for member in members:
            try:
                result = member(value)
            except Mismatch as problem:
                problems.append(problem)
            else:
                if result is value:  # a member that fits as it is goes before one that coerces
                    return value
                coerced.append(result)
        if coerced:
            return coerced[0]
        deepest = max(problems, key=lambda problem: len(problem.path))
        if deepest.path and not several:
            raise deepest
        raise Mismatch(name, value, str(deepest) if deepest.path else "")

    return Check(name, frozenset().union(*(member.exact for member in members)), check)


def _literal(annotation: object, args: tuple[Any, ...]) -> Check:
    name = name_of(annotation)

    def check(value: object) -> object:
        if any(value == arg and type(value) is type(arg) for arg in args):
            return value
        raise Mismatch(name, value)

    return Check(name, (), check)


def _is_typeddict(cls: type) -> bool:
    # Pydantic asks for those of typing_extensions, which typing does not know.
    return typing.is_typeddict(cls) or (
        type(cls).__module__ == "typing_extensions" and hasattr(cls, "__required_keys__")
    )


def _typed_dict(cls: Any) -> Check:
    try:
        hints = typing.get_type_hints(cls)
    except NameError:
        hints = {}
    name = type_name(cls)

    def check(value: object) -> object:
        if not isinstance(value, dict):
            raise Mismatch(name, value)
        if missing := cls.__required_keys__ - value.keys():
            raise Mismatch(name, value, f"missing {', '.join(sorted(missing))}")
        if unknown := value.keys() - cls.__annotations__.keys():
            raise Mismatch(name, value, f"unknown {', '.join(sorted(map(str, unknown)))}")
        new = {
            key: at(_compile(hints.get(key, Any)), item, f"[{key!r}]")
            for key, item in value.items()
        }
        return _same_or_new(value, new, value.values(), new.values())

    return Check(name, (), check)


# --- scalars --------------------------------------------------------------------------------------


def _numpy_scalar(value: object, kinds: str) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in kinds


def _to_bool(value: Any) -> object:
    if _numpy_scalar(value, "b"):
        return bool(value)
    raise Mismatch("bool", value)


def _to_int(value: Any) -> object:
    if _numpy_scalar(value, "iu"):
        return int(value)
    if isinstance(value, int):
        return value
    raise Mismatch("int", value)


def _to_float(value: Any) -> object:
    if isinstance(value, int) or _numpy_scalar(value, "fiu"):
        try:
            return float(value)
        except OverflowError:
            raise Mismatch("float", value, "too large for a float") from None
    if isinstance(value, float):
        return value
    raise Mismatch("float", value)


def _to_complex(value: Any) -> object:
    if isinstance(value, int | float) or _numpy_scalar(value, "cfiu"):
        return complex(value)
    if isinstance(value, complex):
        return value
    raise Mismatch("complex", value)


_SCALARS: dict[type, Check] = {
    type(None): Check("None", (type(None),)),
    bool: Check("bool", (bool,), _to_bool),
    int: Check("int", (int, bool), _to_int),
    float: Check("float", (float,), _to_float),
    complex: Check("complex", (complex,), _to_complex),
    memoryview: Check("memoryview", (memoryview, bytes)),  # views arrive as bytes
}


# --- containers -----------------------------------------------------------------------------------


def at(check: Callable[[object], object], value: object, step: str) -> object:
    """Check a part of a value, and let a mismatch tell where it is."""
    try:
        return check(value)
    except Mismatch as problem:
        problem.path = step + problem.path
        raise


def _same_or_new(old: Any, new: Any, old_items: Iterable[Any], new_items: Iterable[Any]) -> Any:
    """Return the value itself unless an item was coerced: identity and subclass are kept."""
    same = all(a is b for a, b in zip(old_items, new_items, strict=True))
    return old if same else new


def _items(value: Any, check: Check) -> Any:
    """Check the items of a list, tuple, set or frozenset."""
    if {*map(type, value)} <= check.exact or check.name == "Any":
        return value
    ordered = isinstance(value, list | tuple)
    new = [
        at(check, item, f"[{i}]" if ordered else f"{{{_short(item)}}}")
        for i, item in enumerate(value)
    ]
    kind = next(k for k in (list, tuple, set, frozenset) if isinstance(value, k))
    return _same_or_new(value, kind(new), value, new)


def _iterable(origin: type) -> Callable[[object, tuple[Any, ...]], Check]:
    def build(annotation: object, args: tuple[Any, ...]) -> Check:
        name, item = name_of(annotation), _compile(args[0] if args else Any)

        def check(value: object) -> object:
            if not isinstance(value, origin):
                raise Mismatch(name, value)
            return _items(value, item) if isinstance(value, _LOOKED_THROUGH) else value

        return Check(name, (), check)

    return build


def _mapping(origin: type) -> Callable[[object, tuple[Any, ...]], Check]:
    def build(annotation: object, args: tuple[Any, ...]) -> Check:
        name = name_of(annotation)
        key, item = map(_compile, args if len(args) == 2 else (Any, Any))

        def check(value: object) -> object:
            if not isinstance(value, origin):
                raise Mismatch(name, value)
            return _entries(value, key, item) if isinstance(value, dict) else value

        return Check(name, (), check)

    return build


def _entries(value: dict[Any, Any], key: Check, item: Check) -> dict[Any, Any]:
    if {*map(type, value)} <= key.exact and {*map(type, value.values())} <= item.exact:
        return value
    new = {at(key, k, f"{{{_short(k)}}}"): at(item, v, f"[{k!r}]") for k, v in value.items()}
    if len(new) != len(value):  # coercion made two keys equal
        return value
    olds, news = [*value, *value.values()], [*new, *new.values()]
    same: dict[Any, Any] = _same_or_new(value, new, olds, news)
    return same


def _tuple(annotation: object, args: tuple[Any, ...]) -> Check:
    if len(args) == 2 and args[1] is ...:
        return _iterable(tuple)(annotation, args[:1])
    name = name_of(annotation)
    if any(typing.get_origin(arg) is typing.Unpack for arg in args):
        return _instance(tuple, name)
    items = [_compile(arg) for arg in args]

    def check(value: object) -> object:
        if not isinstance(value, tuple):
            raise Mismatch(name, value)
        if len(value) != len(items):
            raise Mismatch(name, value, f"{len(value)} items, not {len(items)}")
        new = tuple(
            at(item, v, f"[{i}]") for i, (item, v) in enumerate(zip(items, value, strict=True))
        )
        return _same_or_new(value, new, value, new)

    return Check(name, (), check)


def _callable(annotation: object, args: tuple[Any, ...]) -> Check:
    return _instance(_CALLABLE, "Callable")


_LOOKED_THROUGH = (list, tuple, set, frozenset)
_GENERIC: dict[Any, Callable[[object, tuple[Any, ...]], Check]] = {
    tuple: _tuple,
    abc.Callable: _callable,
    **{
        cls: _iterable(cls)
        for cls in (
            list, set, frozenset, abc.Sequence, abc.MutableSequence, abc.Collection,
            abc.Iterable, abc.Set, abc.MutableSet,
        )
    },
    **{cls: _mapping(cls) for cls in (dict, abc.Mapping, abc.MutableMapping)},
}  # fmt: skip
