"""The version of a function's code: what it does, with all project code that it reaches.

The version is a digest of the function and of every function, class and constant of the project
that it reaches: by global names, through modules, methods, base classes, closures, defaults,
decorators, partials, and through other tasks, whose results end up in its own. It changes when any
of these does something else. It does not change with comments, docstrings, formatting, position or
the names of modules, nor with anything that is not reached.

What only running the code could tell is not seen: ``getattr`` with a computed name, ``eval``, files
that are read, modules that are imported by ``importlib``.
"""

from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

from perdure._core.ids import DIGEST_BYTES
from perdure._version.project import is_own
from perdure._version.reach import Node, Reach
from perdure._version.witness import Witness

_REMEMBERED = 1000


class CodePart(NamedTuple):
    """A function, class or constant that belongs to a version.

    Attributes:
        name: Module and qualified name; a script's module is called what its file is called.
        digest: 16 bytes; of this part alone, and the names of what it leads to.
        source: Its text, "" if that is not known.
    """

    name: str
    digest: bytes
    source: str


class CodeVersion(NamedTuple):
    """The version of a function's code.

    Attributes:
        digest: 16 bytes; equal in every process of the same minor version of Python.
        parts: The function itself first, then what it reaches by name.
    """

    digest: bytes
    parts: tuple[CodePart, ...]


_known: dict[int, tuple[object, CodeVersion, Witness]] = {}  # by id; not everything can be hashed


def code_version(function: Callable[..., Any]) -> CodeVersion:
    """Return the version of a function or task.

    It is worked out once in a process and then only checked, in microseconds, against what the
    names involved are bound to now.

    Args:
        function: Any callable.
    """
    target: Any = function
    while True:
        if isinstance(target, partial) and not (target.args or target.keywords):
            target = target.func
        elif is_own(type(target).__module__) and hasattr(target, "function"):
            target = target.function  # a task
        else:
            break
    known = _known.get(id(target))
    if known is not None and known[2].still_holds():
        return known[1]
    reach = Reach(target)
    version = _version(reach.nodes)
    if len(_known) >= _REMEMBERED:
        _known.clear()
    _known[id(target)] = (target, version, reach.witness)
    return version


def _version(nodes: list[Node]) -> CodeVersion:
    numbers = {id(node): number for number, node in enumerate(nodes)}
    whole = blake2b(digest_size=DIGEST_BYTES)
    parts = []
    for node in nodes:
        by_number = [(key, numbers[id(target)]) for key, target in _edges(node)]
        by_name = [(key, target.name) for key, target in _edges(node)]
        whole.update(_digest(node.lines, by_number))
        parts.append(CodePart(node.name, _digest(node.lines, by_name), node.source))
    first, *rest = parts
    return CodeVersion(whole.digest(), (first, *sorted(rest)))


def _edges(node: Node) -> list[tuple[str, Node]]:
    return [(key, target) for (key, _), target in zip(node.links, node.targets, strict=True)]


def _digest(lines: list[bytes], edges: "list[tuple[str, int]] | list[tuple[str, str]]") -> bytes:
    hasher = blake2b(digest_size=DIGEST_BYTES)
    for line in (*lines, *(f"{key}\0{target}".encode() for key, target in edges)):
        hasher.update(len(line).to_bytes(8, "big"))
        hasher.update(line)
    return hasher.digest()
