"""Values as bytes that are the same in every process, and the code that is in them.

A value is described line by line: plain data and everything with a canonical encoding by its
content, code by a *link* to it, whatever else by its type. Nothing here follows a link, so a
description costs what the value itself costs.
"""

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from functools import partial, partialmethod
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from perdure._blobs.hashing import blake3_of
from perdure._blobs.memory import MemoryBlobs
from perdure._serde import dumps
from perdure._serde.registry import find_encoder
from perdure._version.project import (
    external,
    is_own,
    is_project_class,
    is_project_function,
    is_project_module,
)

_SCALARS = frozenset(
    (bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented))
)
_SEQUENCES = (list, tuple)
_SETS = (set, frozenset)
_HINTS = (types.GenericAlias, types.UnionType)
_DEPTH = 30


class Global(NamedTuple):
    """A constant of a module, as the target of a link.

    Attributes:
        namespace: The globals of the module it was found in.
        name: Its name there.
    """

    namespace: dict[str, Any]
    name: str


class Part:
    """What is known of one function, class or constant.

    Attributes:
        lines: Its description.
        links: What it leads to, by the name it has here; in a fixed order.
        volatile: Some of it may change without being bound anew.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.links: list[tuple[str, object]] = []
        self.volatile = False
        self._depth = 0
        self._inside: set[int] = set()

    def say(self, key: str, text: str | bytes) -> None:
        """Add a line."""
        data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
        self.lines.append(key.encode(errors="surrogatepass") + b"\0" + data)

    def link(self, key: str, target: object) -> None:
        """Add a link to a project function or class, or to a :class:`Global`."""
        self.links.append((key, target))

    def add(self, key: str, value: object, *, only_code: bool = False) -> bool:
        """Describe a value; return False if there is more to it than its type says.

        Args:
            key: What it is called here.
            value: Any object.
            only_code: Leave out data; look for functions and classes in it.
        """
        if type(value) in _SCALARS:
            if not only_code:
                self.say(key, f"{type(value).__name__} {value!r}")
            return True
        if self._depth > _DEPTH or id(value) in self._inside:
            self.say(key, "...")
            return True
        self._inside.add(id(value))
        self._depth += 1
        try:
            return self._add_code(key, value) or self._add_data(key, value, only_code)
        finally:
            self._depth -= 1
            self._inside.discard(id(value))

    # --- code -------------------------------------------------------------------------------------

    def _add_code(self, key: str, value: Any) -> bool:
        """Describe what is code; return False if the value is data."""
        if isinstance(value, FunctionType):
            self._add_function(key, value)
        elif isinstance(value, type) and not isinstance(value, _HINTS):
            self._add_class(key, value)
        elif isinstance(value, ModuleType):
            self.say(key, "module" if is_project_module(value) else f"module {value.__name__}")
        elif isinstance(value, _HINTS) or type(value).__module__ == "typing":
            self.add_hint(key, value)
        elif isinstance(value, _BUILTIN):
            self.say(key, external(value))
        else:
            return self._add_binding(key, value) or self._add_wrapper(key, value)
        return True

    def _add_binding(self, key: str, value: Any) -> bool:
        """Describe what binds a function to something; return False if it is something else."""
        if isinstance(value, MethodType):
            self.add(f"{key}.__func__", value.__func__)
            self.add(f"{key}.__self__", value.__self__)
        elif isinstance(value, staticmethod | classmethod):
            self.say(key, type(value).__name__)
            self.add(key, value.__func__)
        elif isinstance(value, property):
            self.say(key, "property")
            for accessor in (value.fget, value.fset, value.fdel):
                self.add(key, accessor)
        elif isinstance(value, partial | partialmethod):
            self.say(key, type(value).__name__)
            self.add(f"{key}.func", value.func)
            self.add(f"{key}.args", value.args)
            self.add(f"{key}.keywords", dict(value.keywords))
        else:
            return False
        return True

    def _add_wrapper(self, key: str, value: Any) -> bool:
        """Describe what stands for a function or pattern; return False if it is something else."""
        wrapped = attributes_of(value).get("__wrapped__")
        if isinstance(value, re.Pattern):
            self.say(key, f"{value.pattern!r} {value.flags}")
        elif wrapped is not None or is_own(type(value).__module__):
            # Tasks, lru_cache, jit: how a function is called is not what it computes.
            self.say(key, external(type(value)))
            self.add(f"{key}.__wrapped__", wrapped)
        else:
            return False
        return True

    def _add_function(self, key: str, function: FunctionType) -> None:
        if is_project_function(function):
            self.link(key, function)
            return
        # Not by __module__ and __qualname__: wrappers have those of what they wrap.
        module = function.__globals__.get("__name__")
        self.say(key, f"{module}.{function.__code__.co_qualname}")
        if is_own(module):
            wrapped = attributes_of(function).get("__wrapped__")
            if wrapped is not None:
                self.add(f"{key}.__wrapped__", wrapped)
            return
        # A wrapper that an installed decorator made: what it wraps is in it.
        for name, held in held_by(function):
            self.add(f"{key}.{name}", held, only_code=True)

    def _add_class(self, key: str, cls: type) -> None:
        if is_project_class(cls):
            self.link(key, cls)
        else:
            self.say(key, external(cls))

    def add_hint(self, key: str, hint: object) -> None:
        """Describe a type hint, with the project classes in it."""
        if isinstance(hint, str):
            self.say(key, hint)
        elif isinstance(hint, type) and not isinstance(hint, _HINTS):
            self._add_class(key, hint)
        elif (origin := typing.get_origin(hint)) is not None:
            self.say(key, external(origin))
            for argument in typing.get_args(hint):
                self.add_hint(key, argument)
        elif isinstance(hint, list | tuple):  # the parameters of a Callable
            for argument in hint:
                self.add_hint(key, argument)
        else:  # a type variable, a Literal's value
            self.say(key, getattr(hint, "__name__", None) or repr(hint))

    # --- data -------------------------------------------------------------------------------------

    def _add_data(self, key: str, value: Any, only_code: bool) -> bool:
        kind = type(value)
        if isinstance(value, enum.Enum):
            self._add_class(key, kind)
            self.say(key, value.name if value.name is not None else repr(value.value))
            return True
        if isinstance(value, _SEQUENCES):
            self._begin(key, value, kind, only_code)
            for number, item in enumerate(value):
                self.add(f"{key}[{number}]", item, only_code=only_code)
            return True
        if isinstance(value, Mapping) and (kind is dict or hasattr(kind, "__missing__")):
            self._begin(key, value, kind, only_code)
            self._add_items(key, value.items(), only_code)
            return True
        if isinstance(value, _SETS):
            self._begin(key, value, kind, only_code)
            self._add_items(key, ((item, None) for item in value), only_code)
            return True
        fields = _fields(value)
        if fields is not None:
            self.volatile = True
            self._add_class(key, kind)
            for name, item in fields:
                self.add(f"{key}.{name}", item, only_code=only_code)
            return True
        return self._add_other(key, value, only_code)

    def _begin(self, key: str, value: Any, kind: type, only_code: bool) -> None:
        """Describe a container itself."""
        self.volatile |= not isinstance(value, tuple | frozenset)
        if not only_code:
            self.say(key, f"{len(value)}")
        self._add_class(key, kind)

    def _add_items(self, key: str, items: Iterable[tuple[Any, Any]], only_code: bool) -> None:
        """Describe what has no order that could be relied on."""
        described = []
        for name, item in items:
            part = Part()
            part.add(f"{key}{{}}", name, only_code=only_code)
            part.add(f"{key}[]", item, only_code=only_code)
            names = [getattr(target, "__qualname__", "") for _, target in part.links]
            described.append((part.lines, names, part))
        for lines, _, part in sorted(described, key=lambda each: each[:2]):
            self.lines += lines
            self.links += part.links
            self.volatile |= part.volatile

    def _add_other(self, key: str, value: Any, only_code: bool) -> bool:
        kind = type(value)
        encoded = None if only_code or is_project_class(kind) else _encoded(value)
        self._add_class(key, kind)
        if encoded is not None:
            self.volatile = True  # arrays can be written to
            self.say(key, encoded)
            return True
        # Objects of libraries hold user code: handlers, callbacks, models.
        for name, held in sorted(attributes_of(value).items()):
            if isinstance(held, FunctionType | MethodType | type):
                self.add(f"{key}.{name}", held, only_code=True)
        return False


_BUILTIN = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


def attributes_of(value: object) -> dict[str, Any]:
    """Return the attributes an object has of its own, without asking its class."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def held_by(function: FunctionType) -> list[tuple[str, object]]:
    """Return what a function carries along: its wrapped function and the cells of its closure."""
    held = [(name, _content(cell)) for name, cell in _cells(function)]
    wrapped = attributes_of(function).get("__wrapped__")
    if wrapped is not None:
        held.append(("__wrapped__", wrapped))
    return held


def _cells(function: FunctionType) -> list[tuple[str, types.CellType]]:
    return list(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def _fields(value: Any) -> list[tuple[str, Any]] | None:
    """Return the fields of a value that is made of fields, None for any other."""
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return [(name, getattr(value, name, None)) for name in names]
    if "__pydantic_fields__" in vars(kind) or "__attrs_attrs__" in vars(kind):
        return sorted(attributes_of(value).items())
    return None


def _encoded(value: object) -> bytes | None:
    """Return the digest of a value of a library's, None if it would have to be pickled."""
    from perdure._serde.pickles import encode_pickle

    try:
        if find_encoder(type(value)) is encode_pickle:
            return None
        return dumps(value, _Nowhere()).digest
    except Exception:  # whatever the value's own methods raise: it has no content we can see
        return None


class _Nowhere(MemoryBlobs):
    """Blobs that are not kept: only their digests are wanted."""

    def put(self, parts: Sequence[bytes | memoryview]) -> bytes:
        return blake3_of(parts)
