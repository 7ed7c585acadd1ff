"""Finding an interpreter of another version among those that are installed. None is downloaded."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from perdure._environments.fitting import satisfies
from perdure._environments.recipe import LEAST_PYTHON, Recipe
from perdure._environments.uv import find_uv
from perdure.errors import EnvironmentBuildError

_VERSION = "import sys; print(sys.implementation.name, *sys.version_info[:3], sep='.')"
_TESTED = ("3.13", "3.12", "3.11")
_ASK_SECONDS = 20.0


def interpreter(recipe: Recipe) -> tuple[str, str]:
    """Return path and version (``cpython.3.12.1``) of an interpreter for the recipe.

    This one, if it will do; otherwise the first of the version that is asked for, or the newest of
    those that will do.

    Args:
        recipe: What is asked for.

    Raises:
        EnvironmentBuildError: There is none.
    """
    own = ".".join((sys.implementation.name, *map(str, sys.version_info[:3])))
    if _will_do(recipe, own):
        return sys.executable, own
    found: dict[str, str] = {own: sys.executable}
    for path in candidates(recipe):
        version = version_of(path)
        if version:
            found.setdefault(version, path)
            if recipe.python and _will_do(recipe, version):
                break
    fitting = [version for version in found if _will_do(recipe, version)]
    if fitting:
        best = max(fitting, key=_order)
        return found[best], best
    usable = [v.partition(".") for v in sorted(found, key=_order, reverse=True) if _is_enough(v)]
    there = ", ".join(number for _, _, number in usable)
    raise EnvironmentBuildError(
        f"there is no Python {recipe.python or recipe.requires_python} that tasks could run under, "
        f"but {there}",
        hint="install it (pyenv and uv python install are looked at), or leave python_version out",
    )


def _will_do(recipe: Recipe, version: str) -> bool:
    number = version.partition(".")[2]
    if recipe.python and not f"{number}.".startswith(f"{recipe.python}."):
        return False
    if not _is_enough(version):
        return False
    return not recipe.requires_python or satisfies(number, recipe.requires_python)


def _is_enough(version: str) -> bool:
    return _order(version) >= [*LEAST_PYTHON]


def candidates(recipe: Recipe) -> Iterator[str]:
    """Yield paths of interpreters that may do: of the system, of pyenv, of uv."""
    wanted = (recipe.python,) if recipe.python else _TESTED
    for version in wanted:
        name = f"python{version}"
        for folder in os.get_exec_path():
            # The shims of pyenv start what its settings say, or nothing.
            if Path(folder).name != "shims" and (path := shutil.which(name, path=folder)):
                yield path
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for version in wanted:
        yield from map(str, root.glob(f"versions/{version}.*/bin/python"))
    try:
        uv = find_uv()
    except EnvironmentBuildError:  # it has installed none
        return
    listed = subprocess.run(
        [uv, "python", "list", "--managed-python", "--only-installed", "--output-format", "json"],
        capture_output=True,
        check=False,
        timeout=_ASK_SECONDS,
    )
    if listed.returncode == 0:
        for each in json.loads(listed.stdout or b"[]"):
            yield each["path"]


def version_of(path: str) -> str:
    """Return implementation and version of an interpreter; "" if it does not tell."""
    try:
        asked = subprocess.run(
            [path, "-IS", "-c", _VERSION],
            capture_output=True,
            text=True,
            check=True,
            timeout=_ASK_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip()


def _order(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
