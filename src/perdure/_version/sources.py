"""What only the text of a file tells.

How a constant that has no value of its own is made, which decorators stand above a function, where
a name was imported from, and, for people, the text of a definition. The text comes from
``linecache``, which also has the cells of notebooks. Where there is none, these things are not
known, and what there is at run time has to do.
"""

import ast
import linecache
import textwrap
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any, NamedTuple

from perdure._version.bytecode import Path

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Assignment = ast.Assign | ast.AnnAssign | ast.AugAssign

_CONTAINERS = frozenset(
    ("dict", "list", "set", "defaultdict", "deque", "OrderedDict", "Counter", "bytearray",
     "WeakKeyDictionary", "WeakValueDictionary", "WeakSet", "SimpleNamespace")
)  # fmt: skip
_LOCALS = ".<locals>."


class Origin(NamedTuple):
    """Where a name of a module comes from: ``from module import name``."""

    module: str
    level: int
    name: str


class Source:
    """The text of one file, parsed.

    Attributes:
        rebound: Names that some function declares ``global``: they are state, not constants.
        origins: Names that were imported from other modules.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._definitions: dict[str, list[Definition]] = {}
        self._assignments: dict[str, list[Assignment]] = {}
        self.rebound: set[str] = set()
        self.origins: dict[str, Origin] = {}
        self._enter(ast.parse("".join(lines)).body, "")

    def function(self, code: CodeType) -> Definition | None:
        """Return the definition that was compiled to ``code``."""
        found = self._definitions.get(code.co_qualname, [])
        exact = [node for node in found if _first_line(node) == code.co_firstlineno]
        return next(reversed(exact or found), None)

    def named(self, qualname: str) -> Definition | None:
        """Return the last definition of that qualified name."""
        return next(reversed(self._definitions.get(qualname, [])), None)

    def assignments(self, qualname: str) -> list[ast.expr]:
        """Return what is assigned to a name of a module (``LIMIT``) or class (``Model.depth``)."""
        return [node.value for node in self.assigned(qualname) if node.value is not None]

    def assigned(self, qualname: str) -> list[Assignment]:
        """Return the statements that assign to a name of the module or of a class."""
        return self._assignments.get(qualname, [])

    def starts_empty(self, qualname: str) -> bool:
        """Whether the name is bound to an empty container, to be filled later."""
        found = self.assignments(qualname)
        return len(found) == 1 and _is_empty(found[0])

    def text_of(self, nodes: Iterable[ast.stmt]) -> str:
        """Return the lines of statements, without their indentation."""
        blocks = (self._lines[_first_line(node) - 1 : node.end_lineno] for node in nodes)
        return "".join(textwrap.dedent("".join(lines)) for lines in blocks)

    def line(self, number: int) -> str:
        """Return one line, "" if there are not so many."""
        return "".join(self._lines[number - 1 : number]).strip()

    def _enter(self, body: Iterable[ast.stmt], prefix: str) -> None:
        in_function = prefix.endswith(_LOCALS)
        for node in body:
            if isinstance(node, ast.ClassDef):
                self._define(node, prefix, ".")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._define(node, prefix, _LOCALS)
            elif isinstance(node, ast.Global):
                self.rebound.update(node.names)
            elif in_function:
                self._enter(_inner(node), prefix)
            elif isinstance(node, Assignment):
                for name in _targets(node):
                    self._assignments.setdefault(prefix + name, []).append(node)
            elif isinstance(node, ast.ImportFrom) and not prefix:
                for alias in node.names:
                    origin = Origin(node.module or "", node.level, alias.name)
                    self.origins[alias.asname or alias.name] = origin
            else:
                self._enter(_inner(node), prefix)

    def _define(self, node: Definition, prefix: str, separator: str) -> None:
        self._definitions.setdefault(prefix + node.name, []).append(node)
        self._enter(node.body, prefix + node.name + separator)


_parsed: dict[str, tuple[list[str], Source | None]] = {}


def source_of(filename: str, namespace: dict[str, Any] | None = None) -> Source | None:
    """Return the text of a file (or notebook cell) parsed, None if there is none.

    Args:
        filename: As code objects have it.
        namespace: Globals of a module in it, whose loader may know the text.
    """
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, namespace)
    known = _parsed.get(filename)
    if known is None or (known[0] is not lines and known[0] != lines):
        known = _parsed[filename] = (lines, _parse(lines))
    return known[1]


def _parse(lines: list[str]) -> Source | None:
    try:
        return Source(lines) if lines else None
    except (SyntaxError, ValueError, RecursionError):  # it was edited since, or is no Python
        return None


def names_in(node: ast.AST) -> Iterator[Path]:
    """Yield the names an expression uses, each with the attributes asked of it at once."""
    if isinstance(node, ast.Name):
        yield (node.id,)
        return
    if isinstance(node, ast.Attribute):
        attributes: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            attributes.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield (inner.id, *attributes)
            return
    for child in ast.iter_child_nodes(node):
        yield from names_in(child)


def _first_line(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, Definition) else []
    return min([node.lineno, *(each.lineno for each in decorators)])


def _inner(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements inside a compound statement, not those of definitions in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from child.body


def _targets(node: Assignment) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        for each in ast.walk(target):
            if isinstance(each, ast.Name):
                yield each.id


def _is_empty(value: ast.expr) -> bool:
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List | ast.Set | ast.Tuple):
        return not value.elts
    if not isinstance(value, ast.Call) or value.keywords:
        return False
    name = value.func.attr if isinstance(value.func, ast.Attribute) else None
    name = value.func.id if isinstance(value.func, ast.Name) else name
    # A name as argument is the factory of a defaultdict.
    return name in _CONTAINERS and all(isinstance(each, ast.Name) for each in value.args)
