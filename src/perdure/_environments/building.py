"""Filling the folder of an environment with uv."""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from perdure import _files
from perdure._environments import indexes
from perdure._environments.recipe import Install, Project, Recipe, Source, encode_recipe, source
from perdure._environments.uv import Uv
from perdure.errors import (
    ConfigurationError,
    EnvironmentBuildError,
    EnvironmentUnavailableError,
)

NEEDS = (
    "blake3>=1.0", "cloudpickle>=2.2", "markdown-it-py>=2.2", "msgspec>=0.20", "packaging>=22.0",
    "uvloop>=0.19",
)  # fmt: skip
"""What Perdure needs in a worker; a test compares it with the dependencies of the package."""

MANIFEST = "environment.json"
"""File that tells what is in an environment."""


class Builder:
    """Makes one environment.

    Args:
        folder: Where; it does not exist, and only whoever finishes it gives it its name.
        log: File for what uv says.
        keep: A descriptor that what builds holds open for as long as it lives.
        stop: Once set, the build is given up.
    """

    def __init__(self, folder: Path, log: Path, keep: int, stop: threading.Event) -> None:
        self._folder = folder
        self._log = log
        self._keep = keep
        self._stop = stop

    def build(self, recipe: Recipe, python: str, versions: Path) -> None:
        """Build it.

        Args:
            recipe: What is to be in it.
            python: The interpreter that it is for.
            versions: File of the versions that were found; made by the first build, and what later
                ones go by.

        Raises:
            EnvironmentBuildError: It cannot be built.
            Stopped: It was told to stop.
        """
        began = time.monotonic()
        _check_unchanged(recipe)
        with self._log.open("wb") as log:
            environ = _environ()
            self._uv = Uv(log, environ, self._keep, self._stop)
            self._uv.run(
                "venv", "--quiet", "--relocatable", "--no-project", "--no-python-downloads",
                "--python", python, str(self._folder), cwd=self._folder.parent,
            )  # fmt: skip
            needs = self._listed("needs", NEEDS)
            self._install_needs(needs, python)
            fixed = ("--overrides", str(versions)) if versions.exists() else ()
            for number, step in enumerate(recipe.steps):
                self._take(step, f"{number}", ("--constraints", str(needs), *fixed))
            found = self._folder / "found.txt"
            self._uv.run("pip", "freeze", "--python", self._python, cwd=self._folder, output=found)
        packages = _pinned(found.read_text().splitlines())
        if not versions.exists():
            _settle(versions, packages)
        add_perdure(self._folder)
        # What uv has written may be in memory only: a power cut would leave empty files.
        _files.sync_filesystem(self._folder)
        manifest = {
            "image": recipe.label,
            "recipe": blake3(encode_recipe(recipe)).hexdigest(),
            "python": ".".join(_version(self._folder)),
            "packages": packages,
            "seconds": round(time.monotonic() - began, 3),
        }
        _files.write(self._folder / MANIFEST, json.dumps(manifest, indent=1).encode(), sync=True)

    def _install_needs(self, needs: Path, python: str) -> None:
        # Every worker imports it, also where Python is told to keep no bytecode.
        what = ("--requirements", str(needs), "--compile-bytecode")
        same = self._listed("same", _versions_here() if python == sys.executable else ())
        try:
            # What is the same here and there need not be loaded anew: see perdure._worker.guests.
            self._install(*what, "--constraints", str(same))
        except EnvironmentUnavailableError:
            raise
        except EnvironmentBuildError:  # nobody has these versions
            self._install(*what)

    @property
    def _python(self) -> str:
        return str(self._folder / "bin" / "python")

    def _take(self, step: Install | Project, name: str, limits: Sequence[str]) -> None:
        if isinstance(step, Project):
            self._take_project(step, name, limits)
            return
        more = [*limits, *step.options.arguments()]
        if step.constraints:
            more += ["--constraints", str(self._listed(f"{name}-constraints", step.constraints))]
        wanted = self._listed(name, step.requirements)
        self._install("--requirements", str(wanted), *more, fresh=step.sources)

    def _take_project(self, step: Project, name: str, limits: Sequence[str]) -> None:
        folder, options = Path(step.pyproject.path).parent, step.options.arguments()
        if step.lock is None:
            self._install("--requirements", step.pyproject.path, *limits, *options, cwd=folder)
        else:
            wanted = self._folder / f"{name}.txt"
            self._uv.run(
                "export", "--quiet", "--frozen", "--no-emit-project", "--no-header",
                "--python", self._python, *options, cwd=folder, output=wanted,
            )  # fmt: skip
            # Its limits: versions of the lock are kept, whatever else was found before.
            self._install("--requirements", str(wanted), *limits[:2], cwd=folder)
        if step.itself is not None:
            self._install("--no-deps", step.itself.path, cwd=folder, fresh=(step.itself,))

    def _install(self, *what: str, cwd: Path | None = None, fresh: Sequence[Source] = ()) -> None:
        # A folder that has changed may look to uv like the one it has built before.
        again = ["--refresh"] if any(Path(each.path).is_dir() for each in fresh) else []
        try:
            self._uv.run(
                "pip", "install", "--python", self._python, *again, *what, cwd=cwd or self._folder
            )
        except EnvironmentBuildError as error:
            if ours := [need for need in NEEDS if need in error.message]:
                error.hint = f"Perdure itself needs {', '.join(ours)}: ask for versions that fit"
            raise

    def _listed(self, name: str, lines: Iterable[str]) -> Path:
        path = self._folder / f"{name}.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


def add_perdure(folder: Path) -> None:
    """Make this very Perdure importable there: controller and workers have to be of one mind."""
    from importlib.metadata import PackageNotFoundError, distribution

    package = Path(__file__).parents[1]
    site = site_packages(folder)
    (site / "perdure").symlink_to(package, target_is_directory=True)
    try:
        installed = distribution("perdure")
    except PackageNotFoundError:  # on the import path only
        return
    information = Path(str(installed.locate_file(""))) / f"perdure-{installed.version}.dist-info"
    if information.is_dir():
        (site / information.name).symlink_to(information, target_is_directory=True)


def site_packages(folder: Path) -> Path:
    """Return where the packages of an environment are."""
    (found,) = (folder / "lib").glob("python*/site-packages")
    return found


def _version(folder: Path) -> list[str]:
    for line in (folder / "pyvenv.cfg").read_text().splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "version_info":
            return value.strip().split(".")
    return []


def _environ() -> dict[str, str]:
    environ = os.environ | indexes.settings(os.environ)
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "CONDA_PREFIX", "UV_PYTHON"):
        environ.pop(name, None)
    return environ | {
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }


def _versions_here() -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version

    for name in (line.partition(">=")[0] for line in NEEDS):
        with contextlib.suppress(PackageNotFoundError):  # on the import path only
            yield f"{name}=={version(name)}"


def _check_unchanged(recipe: Recipe) -> None:
    for step in recipe.steps:
        for then in step.sources:
            try:
                now = source(Path(then.path))
            except ConfigurationError as error:
                raise EnvironmentBuildError(error.message) from None
            if now.digest != then.digest:
                raise EnvironmentBuildError(
                    f"{then.path} has changed since the run started",
                    hint="start the run anew: it takes what is there now",
                )


def _pinned(lines: Sequence[str]) -> list[str]:
    """Return those that are versions of an index, rather than paths and URLs."""
    return [line for line in lines if "==" in line and " @ " not in line]


def _settle(versions: Path, packages: Sequence[str]) -> None:
    _files.write(versions, "".join(f"{line}\n" for line in packages).encode(), sync=False)
