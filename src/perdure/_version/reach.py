"""What a function reaches: a graph of functions, classes and constants of the project.

Nodes are found breadth first and numbered as they are found, and every link is followed in a fixed
order. So two processes that start from the same function draw the same graph, whatever their hash
seeds, and whatever the modules are called there.
"""

import ast
import builtins
import inspect
import sys
from collections import deque
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

from perdure._bundle import body_digest
from perdure._modules import canonical, find_module
from perdure._version import importing, sources
from perdure._version.bytecode import Import, Path, Uses, uses
from perdure._version.describe import Global, Part, attributes_of, held_by
from perdure._version.members import is_generated, members_of
from perdure._version.project import is_own, is_project_function, is_project_module, shown
from perdure._version.witness import MISSING, Witness

_BY_NAME = frozenset({("getattr",), ("vars",)})
_ORIGINS = 20  # how often a name may be handed on by ``from module import name``


class Node(Part):
    """A part with its name and text, and the nodes it leads to.

    Attributes:
        name: For people: module and qualified name.
        source: Its text, "" where that is not known.
        targets: For each of ``links``, where it leads to.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.source = ""
        self.targets: list[Node] = []


class Reach:
    """One walk.

    Attributes:
        nodes: What was found, in order; first the function itself.
        witness: Tells later whether all of it is still the same.
    """

    def __init__(self, function: object) -> None:
        self.nodes: list[Node] = []
        self.witness = Witness()
        self._known: dict[object, Node] = {}
        self._names: dict[str, int] = {}
        self._ahead: deque[tuple[Node, object]] = deque()
        self._find(function)
        while self._ahead:
            node, target = self._ahead.popleft()
            self._visit(node, target)
            node.targets = [self._find(each) for _, each in node.links]

    def _find(self, target: object) -> Node:
        key = (id(target.namespace), target.name) if isinstance(target, Global) else id(target)
        node = self._known.get(key)
        if node is None:
            name = _name(target)
            count = self._names[name] = self._names.get(name, 0) + 1
            node = self._known[key] = Node(name if count == 1 else f"{name} #{count}")
            self.nodes.append(node)
            self._ahead.append((node, target))
        return node

    def _visit(self, node: Node, target: object) -> None:
        if isinstance(target, FunctionType):
            self._function(node, target)
        elif isinstance(target, type):
            self._class(node, target)
        elif isinstance(target, Global):
            self._constant(node, target)
        else:
            node.add("", target)

    # --- functions --------------------------------------------------------------------------------

    def _function(self, node: Node, function: FunctionType) -> None:
        self.witness.function(function)
        code, namespace = function.__code__, function.__globals__
        node.say("body", body_digest(code))
        used = uses(code)
        self._paths(node, used.globals, namespace)
        for statement in used.imports:
            self._import(node, statement, used, namespace)
        for name, held in held_by(function):
            self._value(node, f"holds {name}", held)
            self._module_members(node, held, used)
        for number, default in enumerate(function.__defaults__ or ()):
            self._value(node, f"default {number}", default)
        for name, default in sorted((function.__kwdefaults__ or {}).items()):
            self._value(node, f"default {name}", default)
        for hint in function.__annotations__.values():
            self._classes_of(node, hint, namespace)
        source = sources.source_of(code.co_filename, namespace)
        if source is None:
            return
        definition = source.function(code)
        if definition is None:  # a lambda
            node.source = source.line(code.co_firstlineno)
            return
        node.source = source.text_of([definition])
        self._decorators(node, definition, namespace)

    def _value(self, node: Node, key: str, value: object, *, only_code: bool = False) -> bool:
        """Describe a value, and remember it if it can change in place."""
        node.volatile = False
        told = node.add(key, value, only_code=only_code)
        if node.volatile:
            self.witness.value(value, only_code=only_code)
        return told

    def _paths(self, node: Node, paths: Iterable[Path], namespace: dict[str, Any]) -> None:
        for path in sorted(paths):
            self._global(node, path, namespace)

    def _global(self, node: Node, path: Path, namespace: dict[str, Any]) -> None:
        name = path[0]
        if name.startswith("__"):  # __name__, __file__: where the module is, not what it does
            return
        value = namespace.get(name, MISSING)
        self.witness.binding(namespace, name, value)
        if isinstance(value, ModuleType):
            self._member(node, path[:1], value, path[1:])
        elif value is not MISSING:
            self._link(node, name, value, namespace)
        elif not hasattr(builtins, name):
            node.say(name, "not there")

    def _member(self, node: Node, taken: Path, module: ModuleType, rest: Path) -> None:
        """Link what ``module.rest`` is, if it is of the project; else say what module that is."""
        key = ".".join(taken)
        if not is_project_module(module):
            node.say(key, f"module {module.__name__}")
            return
        if not rest:  # passed on: anything in it may be used
            self._whole(node, key, module)
            return
        value = _attribute(module, rest[0])
        self.witness.binding(module.__dict__, rest[0], module.__dict__.get(rest[0], MISSING))
        taken = (*taken, rest[0])
        if isinstance(value, ModuleType):
            self._member(node, taken, value, rest[1:])
        elif value is MISSING:
            node.say(".".join(taken), "not there")
        else:
            self._link(node, ".".join(taken), value, module.__dict__)

    def _whole(self, node: Node, key: str, module: ModuleType) -> None:
        for name, value in sorted(module.__dict__.items()):
            if not name.startswith("__") and not isinstance(value, ModuleType):
                self._link(node, f"{key}.{name}", value, module.__dict__)

    def _link(self, node: Node, key: str, value: object, namespace: dict[str, Any]) -> None:
        """Link a value bound in a module: code as it is, all else as a constant of that module."""
        if isinstance(value, FunctionType | type) or _is_wrapper(value):
            node.add(key, value)
        else:
            node.link(key, _origin(namespace, key.rpartition(".")[2]))

    def _import(self, node: Node, statement: Import, used: Uses, namespace: dict[str, Any]) -> None:
        name = importing.absolute(statement.module, statement.level, namespace)
        if importing.is_installed(name):
            node.say(name, "module")
            return
        if statement.names:
            module = importing.imported(name)
            for each in statement.names:
                found = module if module is None else importing.submodule(module, each)
                if found is None:
                    node.say(f"{name}.{each}", "not there")
                else:
                    self._member(node, (name,), found, (each,))
            return
        # A plain import binds a local name; what is asked of it, is asked by attribute.
        # The last one first: packages hold what has been imported of them.
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            module = importing.imported(".".join(parts[:length]))
            if module is None:
                node.say(name, "not there")
            else:
                self._module_members(node, module, used, is_package=length < len(parts))

    def _module_members(
        self, node: Node, held: object, used: Uses, *, is_package: bool = False
    ) -> None:
        """Link what is asked of a module that a local name is bound to.

        If nothing is, or something by ``getattr``, the module is passed on: anything may be used.

        Args:
            node: Who has the local name.
            held: What it is bound to.
            used: What its owner uses.
            is_package: The name is bound to a submodule, or only on the way to one.
        """
        if not isinstance(held, ModuleType) or not is_project_module(held):
            return
        taken = (held.__name__.rpartition(".")[2],)
        members = sorted(used.attributes & held.__dict__.keys())
        if not is_package and (not members or _BY_NAME & used.globals):
            self._whole(node, taken[0], held)
            return
        for name in members:
            if not _is_below(held.__dict__[name], held):
                self._member(node, taken, held, (name,))
            else:
                self._module_members(node, held.__dict__[name], used)

    def _decorators(
        self, node: Node, definition: sources.Definition, namespace: dict[str, Any]
    ) -> None:
        for number, decorator in enumerate(definition.decorator_list):
            paths = sorted(set(sources.names_in(decorator)))
            root = next(sources.names_in(_called(decorator)), ("",))[0]
            if _is_perdures(namespace.get(root)):
                continue  # how a task is executed is not what it computes
            node.say(f"decorator {number}", ast.dump(decorator))
            self._paths(node, paths, namespace)

    def _classes_of(self, node: Node, hint: object, namespace: dict[str, Any]) -> None:
        """Link the project classes in a type hint: their methods are reached through values."""
        if isinstance(hint, str):
            try:
                paths = sorted(set(sources.names_in(ast.parse(hint, mode="eval"))))
            except SyntaxError:
                return
        else:
            paths = []
        seen = Node("")
        for path in paths:
            self._global(seen, path, namespace)
        if not isinstance(hint, str):
            seen.add_hint("", hint)
        for _, target in seen.links:
            if isinstance(target, type):
                node.link("hint", target)

    # --- classes ----------------------------------------------------------------------------------

    def _class(self, node: Node, cls: type) -> None:
        self.witness.cls(cls)
        namespace = _namespace(cls)
        source = sources.source_of(_file_of(cls), namespace)
        definition = None if source is None else source.named(cls.__qualname__)
        node.add("metaclass", type(cls))
        for number, base in enumerate(cls.__bases__):
            node.add(f"base {number}", base)
        for name, hint in inspect.get_annotations(cls).items():
            node.add_hint(f"{name}:", hint)
            self._classes_of(node, hint, namespace)
            if name not in cls.__dict__:  # a library has taken it: what is left is the text
                self._source_of_value(node, source, f"{cls.__qualname__}.{name}", namespace)
        for name, value in members_of(cls):
            if not self._value(node, name, value):
                self._source_of_value(node, source, f"{cls.__qualname__}.{name}", namespace)
        if source is not None and definition is not None:
            node.source = source.text_of([definition])
            self._decorators(node, definition, namespace)

    # --- constants --------------------------------------------------------------------------------

    def _constant(self, node: Node, constant: Global) -> None:
        namespace, name = constant
        filename = namespace.get("__file__")
        source = sources.source_of(filename, namespace) if isinstance(filename, str) else None
        value = namespace[name]
        if source is not None and name in source.rebound:
            # State that functions keep in a global: what it is now depends on what ran before.
            self._source_of_value(node, source, name, namespace)
        else:
            only_code = source is not None and source.starts_empty(name)
            if not self._value(node, "value", value, only_code=only_code):
                self._source_of_value(node, source, name, namespace)
        if source is not None:
            node.source = source.text_of(source.assigned(name))
        if not node.source:
            node.source = f"{name} = {_brief(value)}\n"

    def _source_of_value(
        self, node: Node, source: "sources.Source | None", name: str, namespace: dict[str, Any]
    ) -> None:
        """Say how a value is made, in place of what it is."""
        for number, expression in enumerate([] if source is None else source.assignments(name)):
            node.say(f"{name} made {number}", ast.dump(expression))
            self._paths(node, set(sources.names_in(expression)), namespace)


def _is_below(value: object, package: ModuleType) -> bool:
    return isinstance(value, ModuleType) and value.__name__.startswith(f"{package.__name__}.")


def _is_wrapper(value: object) -> bool:
    return "__wrapped__" in attributes_of(value) or is_own(type(value).__module__)


def _is_perdures(value: object) -> bool:
    if isinstance(value, ModuleType):
        return is_own(value.__name__)
    named = value if isinstance(value, FunctionType | type) else type(value)
    return is_own(named.__module__)


def _called(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def _attribute(module: ModuleType, name: str) -> object:
    value = module.__dict__.get(name, MISSING)
    if value is MISSING and "__getattr__" in module.__dict__:  # it exports names lazily
        try:
            value = getattr(module, name)
        except Exception:  # of the user's function
            return MISSING
    return value


def _origin(namespace: dict[str, Any], name: str) -> Global:
    """Return the constant in the module that makes it: it may have been imported from there."""
    value = namespace[name]
    for _ in range(_ORIGINS):
        filename = namespace.get("__file__")
        source = sources.source_of(filename, namespace) if isinstance(filename, str) else None
        origin = None if source is None else source.origins.get(name)
        if origin is None:
            break
        module = find_module(importing.absolute(origin.module, origin.level, namespace))
        if module is None or not is_project_module(module):
            break
        if module.__dict__.get(origin.name, MISSING) is not value:
            break
        namespace, name = module.__dict__, origin.name
    return Global(namespace, name)


def _namespace(cls: type) -> dict[str, Any]:
    module = find_module(canonical(cls.__module__)) or sys.modules.get(cls.__module__)
    return {} if module is None else module.__dict__


def _file_of(cls: type) -> str:
    for value in cls.__dict__.values():
        function = getattr(value, "__func__", value)
        if not isinstance(function, FunctionType) or is_generated(function):
            continue
        if is_project_function(function):
            return function.__code__.co_filename
    return str(_namespace(cls).get("__file__") or "")


def _name(target: object) -> str:
    if isinstance(target, Global):
        return f"{shown(target.namespace.get('__name__'))}.{target.name}"
    if isinstance(target, FunctionType):
        return f"{shown(target.__globals__.get('__name__'))}.{target.__code__.co_qualname}"
    if isinstance(target, type):
        return f"{shown(target.__module__)}.{target.__qualname__}"
    return type(target).__qualname__


def _brief(value: object) -> str:
    text = repr(value) if type(value) in (int, float, str, bytes, bool, type(None)) else ""
    return text[:200] or f"<{type(value).__qualname__}>"
