"""Finding a task's function in a worker, and the user's main script behind ``__main__``.

A worker never *starts* the user's script: it loads it under the name ``LOADED_MAIN``, so that an
``if __name__ == "__main__":`` block stays out. That happens lazily, at the first attribute anybody
asks of ``__main__`` (a task, a class in a pickle, a type hint): a worker that only executes tasks
of other modules never pays for the script's imports.
"""

import ast
import functools
import importlib
import pickle
import sys
import threading
import traceback
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from perdure._api.task import Task
from perdure._core.model import Bundle, Loader
from perdure._modules import LOADED_MAIN, MAIN, PYTHON, main_module
from perdure._version.environment import is_an_images
from perdure._worker import recorded
from perdure.errors import ConfigurationError, TaskLoadError

_OWN = str(Path(__file__).parent.parent)
_loading = threading.RLock()


def load_task(loader: Loader, bundle: Bundle) -> Task[..., Any]:
    """Return the task that ``loader`` names, importing its module if need be.

    Failures are not remembered: a file that was fixed is tried again.

    Raises:
        TaskLoadError: It cannot be found, or the user's code fails when it is imported.
    """
    found, where = _find(loader, bundle)
    if not isinstance(found, Task):
        raise TaskLoadError(
            f"{where}: {loader.qualname or found!r} is a {type(found).__name__}, not a task",
            hint="it was a task when the run started: has its @env.task decorator gone?",
        )
    return found


def load_hook(loader: Loader, bundle: Bundle) -> Callable[[], Any]:
    """Return the start-up hook that ``loader`` names, importing its module if need be.

    Raises:
        TaskLoadError: It cannot be found, or the user's code fails when it is imported.
    """
    found, where = _find(loader, bundle)
    if not callable(found):
        raise TaskLoadError(
            f"{where}: {loader.qualname} is a {type(found).__name__}, not a function",
            hint="it was when the run started: has its @env.on_start decorator gone?",
        )
    return found


def _find(loader: Loader, bundle: Bundle) -> tuple[object, str]:
    """Return what ``loader`` names, and where it is."""
    if loader.kind == "pickle":
        return _unpickle(loader.payload, loader.python), loader.module
    where = loader.module if loader.kind == "module" else bundle.main_module or bundle.main
    try:
        if loader.kind == "main" and not bundle.main_module:
            module = load_main(where)
        else:
            module = importlib.import_module(where)
    except (Exception, SystemExit) as error:
        _refuse(where, error)
    return _walk(module, loader.qualname, where), where


def load_main(path: str) -> ModuleType:
    """Return the script at ``path``, executed under the name ``LOADED_MAIN`` unless it has been.

    Its folder becomes importable, as it is for ``python path``. Whatever it raises passes through.
    """
    with _loading:
        if (folder := str(Path(path).parent)) not in sys.path:
            sys.path.insert(0, folder)
        module = main_module()
        if isinstance(module, _Main) and module.__file__ == path:
            return module.load()
        if module is None or getattr(module, "__file__", None) != path:
            module = sys.modules[LOADED_MAIN] = _Main(path)
            return module.load()
        return module


def install_main(bundle: Bundle) -> None:
    """Let ``__main__`` stand for the user's main module in this process, not loaded yet."""
    if bundle.main_module:
        sys.modules[MAIN] = _Main("", bundle.main_module)
    elif bundle.main:
        sys.modules[MAIN] = sys.modules[LOADED_MAIN] = _Main(bundle.main)


class _Main(ModuleType):
    """The user's main script or module; the first use of one of its attributes loads it."""

    def __init__(self, path: str, module: str = "") -> None:
        super().__init__(LOADED_MAIN)
        self.__file__ = path
        if module:
            self.__spec__ = ModuleSpec(module, None)

    def __getattr__(self, name: str) -> Any:
        # inspect, pickle and others ask every module for special names; that is not a use.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.load(), name)

    def load(self) -> ModuleType:
        """Return the loaded module: itself for a script, the imported one for ``python -m``."""
        with _loading:
            if self.__spec__ is not None:
                module = sys.modules[MAIN] = importlib.import_module(self.__spec__.name)
                return module
            if type(self) is _Main:
                self._execute()
            return self

    def _execute(self) -> None:
        pristine = dict(self.__dict__)
        path = str(self.__file__)
        loader = SourceFileLoader(LOADED_MAIN, path)
        text = recorded.text_of(path)
        code = loader.source_to_code(loader.get_data(path) if text is None else text, path)
        # From here on an ordinary module, also for code that looks at it while it is executed.
        self.__class__ = ModuleType  # type: ignore[assignment]
        try:
            exec(code, self.__dict__)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(pristine)
            self.__class__ = _Main
            raise


@functools.lru_cache(maxsize=1024)
def _unpickle(payload: bytes, python: str) -> object:
    if python not in ("", PYTHON):  # its bytecode means something else here
        raise TaskLoadError(
            f"a task that is sent by value from Python {python} cannot run under Python {PYTHON}, "
            "which its image asks for",
            hint="define it at the top level of a module or script; then it is found by name",
        )
    try:
        return pickle.loads(payload)
    except Exception as error:
        raise TaskLoadError(
            f"a task that was sent by value cannot be rebuilt:\n\n{_user_traceback(error)}",
            hint="define it at the top level of a module or script; then it is found by name",
        ) from None  # it is in the message


def _walk(module: ModuleType, qualname: str, where: str) -> object:
    found: object = module
    for name in qualname.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise TaskLoadError(
                f"{where} has no {qualname}", hint=_missing_hint(module, qualname)
            ) from None
    return found


def _missing_hint(module: ModuleType, qualname: str) -> str:
    if _is_guarded(module, qualname.partition(".")[0]):
        return (
            f'{qualname} is defined under `if __name__ == "__main__":`, which workers do not '
            "execute; move it above that block"
        )
    return "was it renamed, moved, or defined under a condition that does not hold in a worker?"


def _is_guarded(module: ModuleType, name: str) -> bool:
    """Whether the module binds ``name`` in an ``if`` that looks at ``__name__``."""
    try:
        tree = ast.parse(Path(str(module.__file__)).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    guards = [
        node
        for node in tree.body
        if isinstance(node, ast.If)
        and any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(node.test))
    ]
    return any(
        name == getattr(node, "name", None)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name)
        for guard in guards
        for node in ast.walk(guard)
    )


def _refuse(where: str, error: BaseException) -> NoReturn:
    """Tell why ``where`` cannot be loaded, each cause with what to do about it."""
    if isinstance(error, FileNotFoundError) and error.filename == where:
        raise TaskLoadError(
            f"the script {where} is gone",
            hint="put it back where it was when the run started",
        ) from None
    if isinstance(error, ModuleNotFoundError) and _is_prefix(error.name, where):
        raise TaskLoadError(
            f"there is no module {where} in a worker: no {error.name} on the import path",
            hint=f"is it installed for {sys.executable}, or importable from {Path.cwd()}?",
        ) from None
    if isinstance(error, ModuleNotFoundError) and is_an_images():
        raise TaskLoadError(
            f"{where} cannot be loaded:\n\n{_user_traceback(error)}",
            hint=f"the image of the task lacks {error.name}: add the package to the image, or "
            "import it inside the functions that use it",
        ) from None  # it is in the message
    if isinstance(error, SystemExit):
        raise TaskLoadError(
            f"{where} ended the process while it was loaded (exit {error.code})",
            hint='keep what starts the program under `if __name__ == "__main__":`',
        ) from None
    if isinstance(error, ConfigurationError):  # such as a run started at the top level
        raise TaskLoadError(f"{where} cannot be loaded: {error.message}", hint=error.hint) from None
    raise TaskLoadError(
        f"{where} cannot be loaded:\n\n{_user_traceback(error)}",
        hint="fix the error above; what has finished is kept",
    ) from None  # it is in the message


def _is_prefix(name: str | None, module: str) -> bool:
    return bool(name) and f"{module}.".startswith(f"{name}.")


def _user_traceback(error: BaseException) -> str:
    """Return the traceback without the frames that led into the user's code."""
    frames = error.__traceback__
    while frames is not None and _is_machinery(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).strip()


def _is_machinery(filename: str) -> bool:
    return filename.startswith(("<frozen importlib", _OWN)) or filename == importlib.__file__
