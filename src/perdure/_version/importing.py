"""The modules that import statements inside of functions name.

They are imported when the function is called, which may be never in this process. Those of the
project are imported now, to be walked; of all others the name is enough.
"""

import importlib
import importlib.util
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from perdure._bundle import is_project_path
from perdure._modules import find_module
from perdure._version.project import is_project_module


def absolute(module: str, level: int, namespace: dict[str, Any]) -> str:
    """Return the full name of a module that is named with ``level`` leading dots."""
    if not level:
        return module
    package = namespace.get("__package__") or str(namespace.get("__name__", "")).rpartition(".")[0]
    try:
        return importlib.util.resolve_name("." * level + module, package)
    except ImportError:
        return module


def is_installed(name: str) -> bool:
    """Whether a module that a function imports is not walked.

    It is not imported to find out: that may be slow, and whether somebody in this process has done
    so already must make no difference.
    """
    above = ""
    for part in name.split("."):
        above = f"{above}.{part}" if above else part
        module = find_module(above)
        if module is not None:
            if not is_project_module(module):
                return True
            continue
        try:
            spec = importlib.util.find_spec(above)
        except Exception:  # of a package above, or of somebody's finder
            return False
        if spec is None:
            return False
        if not _is_of_project(spec):
            return True
    return False


def _is_of_project(spec: ModuleSpec) -> bool:
    if spec.origin is None:  # a namespace package
        return any(is_project_path(f"{each}/") for each in spec.submodule_search_locations or ())
    return spec.origin.endswith(".py") and is_project_path(spec.origin)


def imported(name: str) -> ModuleType | None:
    """Return a module of the project that a function imports: it would do so when it is called."""
    found = find_module(name)
    if found is not None:
        return found
    try:
        return importlib.import_module(name)
    except Exception:  # whatever the module raises: the function would have to deal with it
        return None


def submodule(module: ModuleType, name: str) -> ModuleType:
    """Return ``module`` after importing what ``from module import name`` may mean."""
    if name not in module.__dict__ and "__path__" in module.__dict__ and is_project_module(module):
        imported(f"{module.__name__}.{name}")
    return module
