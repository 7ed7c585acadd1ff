"""Where inside a value the trouble is: only looked for once encoding has failed."""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

from perdure._blobs.memory import MemoryBlobs
from perdure._serde.classes import type_name
from perdure.errors import SerializationError

if TYPE_CHECKING:
    from perdure._serde.encode import Unencodable

_MAX_STEPS = 20


def explain(value: object, error: "Unencodable") -> SerializationError:
    """Return the error to raise for a value that cannot be encoded."""
    path, culprit = "", value
    for _ in range(_MAX_STEPS):
        step = next(((s, c) for s, c in _children(culprit) if not _encodes(c)), None)
        if step is None:
            break
        path, culprit = path + step[0], step[1]
    where = f" at {path.removeprefix('.')}" if path else ""
    return SerializationError(
        f"a value of type {type_name(type(culprit))}{where} cannot be encoded: {error.reason}",
        hint=_hint(culprit),
    )


class _Nowhere(MemoryBlobs):
    """Blobs of which nothing is going to be read, so that files need not be copied there."""

    def has(self, digest: bytes) -> bool:
        return True


def _encodes(value: object) -> bool:
    from perdure._serde.encode import Unencodable, Writer

    try:
        Writer(_Nowhere(), careful=True).encode(value)
    except (Unencodable, RecursionError):
        return False
    return True


def _children(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield (f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"), item
    elif isinstance(value, list | tuple | set | frozenset):
        for i, item in enumerate(value):
            yield f"[{i}]", item
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield f".{field.name}", getattr(value, field.name, None)
    elif isinstance(value, FunctionType):
        yield from _captured(value)
    else:
        state = getattr(value, "__dict__", None)
        if isinstance(state, dict) and not isinstance(value, type):
            for name, item in state.items():
                yield f".{name}", item


def _captured(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Yield what a function that travels by value takes along."""
    names = inspect.getclosurevars(function)
    for name, item in {**names.nonlocals, **names.globals}.items():
        yield f".<captured {name}>", item
    for i, item in enumerate(function.__defaults__ or ()):
        yield f".<default {i}>", item


def _hint(culprit: object) -> str:
    kind = type(culprit)
    if hasattr(culprit, "__next__"):
        return "a generator or iterator cannot be stored: pass a list of its items"
    if kind.__module__ in ("_thread", "threading", "_io", "socket", "ssl", "sqlite3", "asyncio"):
        return "it belongs to this process: open or make it inside the task that uses it"
    return f"leave it out, make it inside the task, or give {kind.__name__} a __reduce__ method"
