"""What belongs to the user's project, and the names of what does not."""

import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from perdure._bundle import is_project_path
from perdure._modules import MAIN, canonical, find_module

OWN = "perdure"


def is_own(name: object) -> bool:
    """Whether a module of that name is Perdure's."""
    return isinstance(name, str) and (name == OWN or name.startswith(f"{OWN}."))


def is_project_module(module: ModuleType) -> bool:
    """Whether the module is walked: neither installed, nor the standard library, nor Perdure."""
    path = module.__dict__.get("__file__")
    if isinstance(path, str):
        return path.endswith(".py") and is_project_path(path)
    if module.__name__ in sys.builtin_module_names or is_own(module.__name__):
        return False
    folders = module.__dict__.get("__path__")
    if folders is not None:  # a namespace package
        return any(is_project_path(f"{folder}/") for folder in folders)
    # A notebook, a REPL, or a module that a program made up.
    return module.__dict__.get("__spec__") is None


def is_project_name(name: object) -> bool:
    """Whether a module of that name is walked; one that nobody has heard of is."""
    if not isinstance(name, str):
        return False
    module = find_module(canonical(name)) or sys.modules.get(name.partition(".")[0])
    return module is None or is_project_module(module)


def is_project_function(function: FunctionType) -> bool:
    """Whether the function is walked."""
    filename = function.__code__.co_filename
    if filename.startswith("<") and not filename.startswith("<ipython"):  # made by exec, or frozen
        return is_project_name(function.__globals__.get("__name__"))
    return is_project_path(filename)


def is_project_class(cls: type) -> bool:
    """Whether the class is walked."""
    return is_project_name(cls.__module__)


def external(value: Any) -> str:
    """Return the name of what is not walked."""
    module = getattr(value, "__module__", None) or getattr(type(value), "__module__", "")
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(name, str):
        return f"a {type(value).__module__}.{type(value).__qualname__}"
    return f"{module}.{name}"


def shown(module: object) -> str:
    """Return the name of a module for people: a script is called what its file is called."""
    if not isinstance(module, str):
        return "?"
    name = canonical(module)
    if name == MAIN:
        path = getattr(find_module(name), "__file__", None)
        return Path(path).stem if isinstance(path, str) else name
    return name
