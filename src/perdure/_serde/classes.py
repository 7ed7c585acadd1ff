"""Classes, functions and constants by name.

A name is good if every other process can import it: then the object is a ``GLOBAL`` node. A class
that only this process knows (made in a function, a notebook or a REPL) travels as a pickle, with
its name, which alone counts for digests.
"""

import importlib
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from perdure._modules import LOADED_MAIN, MAIN, canonical, find_module, main_module
from perdure._serde import format as f
from perdure._serde.format import Ext
from perdure._serde.registry import RESOLVERS, EncodeHandler, decodes, encodes
from perdure.errors import SerializationError

if TYPE_CHECKING:
    from perdure._serde.decode import Reader
    from perdure._serde.encode import Writer


def type_name(cls: type) -> str:
    """Return the name of a class for people: where they import it from, no ``builtins.``."""
    module = canonical(cls.__module__)
    package = module.partition(".")[0]
    if vars(sys.modules.get(package, object)).get(cls.__qualname__) is cls:
        module = package  # pathlib.Path, not pathlib._local.Path
    return cls.__qualname__ if module in ("builtins", MAIN) else f"{module}.{cls.__qualname__}"


def reference(value: object) -> tuple[str, str] | None:
    """Return (canonical module, qualified name) if every process can import the object."""
    module = getattr(value, "__module__", None)
    qualname = getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or "<locals>" in qualname:
        return None
    name = canonical(module)
    found = find_module(name)
    if found is None or not _is_importable(found) or _member(found, qualname) is not value:
        return None
    return name, qualname


def load_global(module: str, qualname: str) -> Any:
    """Return the object of that name, importing its module if need be.

    Raises:
        SerializationError: There is no such module, or no such object in it.
    """
    try:
        found = find_module(module) or importlib.import_module(module)
    except ImportError as error:
        raise SerializationError(
            f"{module}.{qualname} cannot be loaded: {error}",
            hint=f"make the module {module} importable in this process",
        ) from error
    value = _member(found, qualname)
    if value is None and qualname != "None":
        raise SerializationError(
            f"{getattr(found, '__file__', None) or module} has no {qualname}",
            hint="a value refers to it: was it renamed, moved or defined under a condition?",
        )
    return value


def encode_class(writer: "Writer", cls: type) -> Ext:
    """Return the node of a class."""
    node = writer.classes.get(cls)
    if node is None:
        node = writer.classes[cls] = _encode_class(writer, cls)
    return node


def _encode_class(writer: "Writer", cls: type) -> Ext:
    if name := reference(cls):
        return writer.node(f.GLOBAL, name)
    generic = vars(cls).get("__pydantic_generic_metadata__") or {}
    if generic.get("origin"):
        return writer.node(f.GENERIC, writer.encode_all((generic["origin"], *generic["args"])))
    from perdure._serde.pickles import encode_pickle

    pickled = encode_pickle(writer, cls, warn=False)
    return writer.node(f.CLASS, (canonical(cls.__module__), cls.__qualname__, pickled))


def _is_importable(module: ModuleType) -> bool:
    if module is main_module() and module.__name__ in (MAIN, LOADED_MAIN):
        return getattr(module, "__file__", None) is not None or module.__spec__ is not None
    return module.__spec__ is not None


def _member(module: ModuleType, qualname: str) -> object:
    # A parametrised generic is a module's attribute under its whole name, dots included.
    value: object = getattr(module, qualname, None)
    if value is None:
        value = module
        for part in qualname.split("."):
            value = getattr(value, part, None)
    return value


def _encode_function(writer: "Writer", function: object) -> Ext:
    if name := reference(function):
        return writer.node(f.GLOBAL, name)
    from perdure._serde.pickles import encode_pickle

    return encode_pickle(writer, function)


def _resolve(cls: type) -> EncodeHandler | None:
    return encode_class if issubclass(cls, type) else None


encodes(type)(encode_class)
encodes(FunctionType, BuiltinFunctionType)(_encode_function)
RESOLVERS.append(_resolve)


@encodes(type(...), type(NotImplemented))
def _constant(writer: "Writer", value: object) -> Ext:
    return writer.node(f.GLOBAL, ("builtins", repr(value)))


@decodes(f.GLOBAL)
def _global(reader: "Reader", payload: memoryview) -> object:
    return load_global(*reader.decode(payload))


@decodes(f.CLASS)
def _class(reader: "Reader", payload: memoryview) -> object:
    return reader.decode(payload)[2]


@decodes(f.GENERIC)
def _generic(reader: "Reader", payload: memoryview) -> object:
    origin, *args = reader.decode(payload)
    return origin[tuple(args)]
