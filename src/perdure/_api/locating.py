"""Where other processes find a task: by name if they can, else by value."""

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from perdure._core.model import Loader
from perdure._modules import (
    LOADED_MAIN,
    MAIN,
    PYTHON,
    RECORDED,
    canonical,
    find_module,
    main_module,
)
from perdure.errors import TaskLoadError

if TYPE_CHECKING:
    from perdure._api.task import Task


def loader_of(task: "Task[..., Any]") -> Loader:
    """Return how a worker finds ``task``."""
    module, qualname = canonical(task.function.__module__), task.function.__qualname__
    original = named(task)
    # Which errors are worth a retry is for the worker to judge, and found at the task.
    if original is None or original.settings.retries.on != task.settings.retries.on:
        return Loader("pickle", module, qualname, _by_value(task, task.function.__module__), PYTHON)
    return Loader("main" if module == MAIN else "module", module, qualname)


def loader_of_hook(hook: Callable[[], Any]) -> Loader:
    """Return how a worker finds the start-up hook of an environment."""
    module, qualname = canonical(hook.__module__), hook.__qualname__
    if _found(module, qualname) is not hook:
        return Loader("pickle", module, qualname, _by_value(hook, hook.__module__), PYTHON)
    return Loader("main" if module == MAIN else "module", module, qualname)


def named(task: "Task[..., Any]") -> "Task[..., Any] | None":
    """Return what a process that imports the task's module finds there under the task's name.

    None if it would not find this task (closures, notebooks, several tasks of one function).
    """
    found = _found(canonical(task.function.__module__), task.function.__qualname__)
    return found if getattr(found, "function", None) is task.function else None


def _found(module: str, qualname: str) -> Any:
    """Return what a process that imports the module finds there under the name, or None."""
    found: Any = find_module(module)
    if found is None or not (_main_has_file() if module == MAIN else _importable(found)):
        return None
    for part in qualname.split("."):
        found = getattr(found, part, None)  # "<locals>" is never found
    return found


def find_task(module: str, qualname: str) -> "Task[..., Any]":
    """Return the task of that canonical module and qualified name, importing the module.

    Raises:
        TaskLoadError: It is not there.
    """
    found: Any = find_module(module) or importlib.import_module(module)
    try:
        for part in qualname.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise TaskLoadError(
            f"there is no task {qualname} in {module}",
            hint="it was there when the run started; was it renamed or removed since?",
        ) from None
    return found  # type: ignore[no-any-return]  # what is_named has checked


def _is_main(module: ModuleType) -> bool:
    return module.__name__ in (MAIN, LOADED_MAIN)


def _main_has_file() -> bool:
    """Whether there is a main script that another process can read."""
    path = getattr(main_module(), "__file__", None)
    return path is not None and (path in RECORDED or Path(path).is_file())


@functools.lru_cache(maxsize=256)
def _importable(module: ModuleType) -> bool:
    """Whether a fresh process with this import path would find this module under its name.

    That the module is in ``sys.modules`` proves nothing: test runners and notebooks put modules
    there that no import statement could find.
    """
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.origin in RECORDED:
        return True
    path, parent = None, ""
    for part in canonical(module.__name__).split("."):
        parent = f"{parent}.{part}" if parent else part
        found = PathFinder.find_spec(parent, path)
        if found is None:
            # Not on the path, but perhaps an installed (editable) package brings its own finder.
            return spec is not None and _has_own_finder(parent)
        path = found.submodule_search_locations
    return spec is None or found is None or found.origin == spec.origin


def _has_own_finder(name: str) -> bool:
    """Whether some finder other than the standard ones, set up by the installation, knows it."""
    standard = {"BuiltinImporter", "FrozenImporter", "PathFinder"}
    for finder in sys.meta_path:
        kind = finder if isinstance(finder, type) else type(finder)
        if kind.__name__ in standard or not kind.__module__.startswith("__editable__"):
            continue
        if finder.find_spec(name, None) is not None:
            return True
    return False


def _by_value(target: object, home: str) -> bytes:
    """Return a task or hook by value, whose function is from the module ``home``."""
    import cloudpickle

    module = sys.modules.get(home)
    if module is not None and (_is_main(module) or _importable(module)):
        module = None  # cloudpickle does the right thing
    if module is not None:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(target))
    except Exception as error:
        raise TaskLoadError(
            f"{target!r} cannot be sent to a worker: {error}",
            hint="define it at the top level of a module or script, or make what its function "
            "refers to picklable",
        ) from error
    finally:
        if module is not None:
            cloudpickle.unregister_pickle_by_value(module)
