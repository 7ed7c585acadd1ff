"""Going on in the environment of an image: this process becomes another one.

``perdure debug`` executes an action where its workers did. If its image has an environment of its
own, the interpreter of that one executes the same command again. What the command line is made of
need not be installed there: it is lent by the interpreter that the command was given to, and
nothing else is.
"""

import importlib.abc
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

from perdure._version.environment import python_version, stand_for
from perdure.client import link
from perdure.errors import NotSupportedError

if TYPE_CHECKING:
    from perdure._api.task import Task

_LENT = frozenset({"click", "dotenv", "pygments", "rich"})
_BOOT = (
    "from perdure.client.moving import arrive; arrive({paths!r}, {python!r}, {recipe!r}); "
    "from perdure.cli import main; main()"
)

_here = b""  # the recipe of the environment that this process is in


def move(task: "Task[..., Any]", arguments: Sequence[str], tell: Callable[[str], None]) -> None:
    """Go on where the task's image is installed, unless that is here; then it does not return.

    Args:
        task: The task.
        arguments: The command that is to be executed there.
        tell: Is told in words when something has to be built first.

    Raises:
        EnvironmentBuildError: It cannot be built.
        NotSupportedError: This process has moved already, and elsewhere.
    """
    recipe = _recipe(task)
    if recipe == _here:
        return
    check(task)
    from perdure._api import recipes
    from perdure._environments.store import Environments

    image = task.settings.image
    assert image is not None
    there = Environments(link.config().environments).have(recipes.known(recipes.refer(image)), tell)
    there.keep()
    boot = _BOOT.format(paths=tuple(sys.path), python=python_version(), recipe=recipe)
    path = f"{there.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environ = os.environ | {"VIRTUAL_ENV": str(there.folder), "PATH": path}
    environ.pop("PYTHONHOME", None)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(there.python, [str(there.python), "-c", boot, *arguments], environ)


def check(task: "Task[..., Any]") -> None:
    """See that a task can be executed in this process, which is in one environment.

    Raises:
        NotSupportedError: It has moved to the environment of another image.
    """
    if _here and _recipe(task) != _here:
        raise NotSupportedError(
            f"{task.name} has another image, and what it returned is not recorded",
            hint="debug its own action, or step over it: jump LINE",
            task=task.name,
        )


def arrive(paths: tuple[str, ...], python: str, recipe: bytes) -> None:
    """This process is in the environment now.

    Args:
        paths: Import path of the interpreter that lends the command line.
        python: Its implementation and version.
        recipe: Of the environment.
    """
    global _here
    _here = recipe
    stand_for(paths, python)
    sys.meta_path.append(_Lender(paths))


def _recipe(task: "Task[..., Any]") -> bytes:
    image = task.settings.image
    if image is None:
        return b""
    from perdure._api import recipes

    return recipes.refer(image).recipe


class _Lender(importlib.abc.MetaPathFinder):
    """Finds what the command line is made of, and only that."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._paths = paths

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that nobody has found here."""
        if name in _LENT:
            return PathFinder.find_spec(name, self._paths, target)
        return None
