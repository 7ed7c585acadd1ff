"""Which names a compiled body uses."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from opcode import opmap
from types import CodeType

Path = tuple[str, ...]
"""A global name and the attributes asked of it at once: ``("helpers", "clean")``."""

_CACHE, _EXTENDED_ARG = opmap["CACHE"], opmap["EXTENDED_ARG"]
_LOAD_GLOBAL, _LOAD_CONST = opmap["LOAD_GLOBAL"], opmap["LOAD_CONST"]
_LOAD_NAME = frozenset(
    opmap[name] for name in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") if name in opmap
)
_LOAD_ATTR = frozenset(opmap[name] for name in ("LOAD_ATTR", "LOAD_METHOD") if name in opmap)
_IMPORT_NAME = opmap["IMPORT_NAME"]
_ATTR_SHIFT = int(sys.version_info >= (3, 12))  # from then on the lowest bit says something else


@dataclass(frozen=True, slots=True)
class Import:
    """An import statement inside a function.

    Attributes:
        module: What it names, without leading dots.
        level: How many of those there are.
        names: What ``from`` takes out of the module; () for a plain ``import``.
    """

    module: str
    level: int
    names: tuple[str, ...]


@dataclass(slots=True)
class Uses:
    """What a body uses, that of functions and classes defined inside it included.

    Attributes:
        globals: Global names with the attributes asked of them.
        imports: Its import statements.
        attributes: Every attribute it asks of anything.
    """

    globals: set[Path] = field(default_factory=set)
    imports: list[Import] = field(default_factory=list)
    attributes: set[str] = field(default_factory=set)


def uses(code: CodeType) -> Uses:
    """Return what a compiled body uses."""
    found = Uses()
    _scan(code, found)
    return found


def _scan(code: CodeType, found: Uses) -> None:
    names, consts = code.co_names, code.co_consts
    path: Path = ()
    loaded: list[object] = []
    for operation, argument in _instructions(code):
        if operation in _LOAD_ATTR:
            attribute = names[argument >> _ATTR_SHIFT]
            found.attributes.add(attribute)
            if path:
                path = (*path, attribute)
            continue
        if path:
            found.globals.add(path)
            path = ()
        if operation == _LOAD_GLOBAL:
            path = (names[argument >> 1],)
        elif operation in _LOAD_NAME:
            path = (names[argument],)
        elif operation == _LOAD_CONST:
            loaded.append(consts[argument])
        elif operation == _IMPORT_NAME:
            level, taken = loaded[-2:]  # what the compiler puts right before it
            assert isinstance(level, int)
            found.imports.append(Import(names[argument], level, tuple(taken or ())))  # type: ignore[arg-type]
    for const in consts:
        if isinstance(const, CodeType):
            _scan(const, found)


def _instructions(code: CodeType) -> Iterator[tuple[int, int]]:
    bytecode, extended = code.co_code, 0
    for at in range(0, len(bytecode), 2):
        operation, argument = bytecode[at], extended | bytecode[at + 1]
        extended = 0
        if operation == _EXTENDED_ARG:
            extended = argument << 8
        elif operation != _CACHE:
            yield operation, argument
