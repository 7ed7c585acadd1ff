"""The environments of a home: had, built once, removed."""

import contextlib
import fcntl
import json
import math
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perdure import _files
from perdure._core.ids import digest
from perdure._environments import building
from perdure._environments.building import MANIFEST, Builder
from perdure._environments.interpreters import interpreter
from perdure._environments.recipe import Recipe, encode_recipe
from perdure._environments.uv import Stopped
from perdure._modules import VERSION
from perdure.errors import StorageError

_POLL_SECONDS = 0.05
TOLD_SECONDS = 1.0
"""After so long people are told that somebody else is awaited."""


@dataclass
class Environment:
    """An environment that is there, and that nobody removes before it is closed.

    Attributes:
        folder: Where it is.
        name: Its digest.
        built: It was not there before.
    """

    folder: Path
    name: str
    built: bool = False
    _lock: int = field(default=-1, repr=False)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def keep(self) -> None:
        """Have it kept, too, by the program that this process is about to become."""
        os.set_inheritable(self._lock, True)

    def close(self) -> None:
        """Have no need of it any more."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def discard(self) -> bool:
        """Have it built anew before it is used again; tell whether that could be arranged."""
        try:
            (self.folder / MANIFEST).unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def manifest(self) -> dict[str, object]:
        """Return what is in it."""
        found: dict[str, object] = json.loads((self.folder / MANIFEST).read_bytes())
        return found


class Environments:
    """The environments in a folder.

    Args:
        folder: Made when the first one is built.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def have(
        self,
        recipe: Recipe,
        tell: Callable[[str], None] = lambda text: None,
        stop: threading.Event | None = None,
    ) -> Environment:
        """Return the environment of a recipe, built if it is not there. May take long.

        Args:
            recipe: What is to be in it.
            tell: Is told in words when something is built, and when that is done.
            stop: Once set, it is not waited for any more.

        Raises:
            EnvironmentBuildError: It cannot be built.
            StorageError: The folder cannot be used.
            Stopped: ``stop`` was set.
        """
        stop = stop or threading.Event()
        python, version = interpreter(recipe)
        name = name_of(recipe, python, version)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return self._have(recipe, python, name, tell, stop)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"cannot use the folder of environments {self._folder}: {error}",
                hint="make room, or set PERDURE_HOME to a folder you may write to",
            ) from error

    def _have(
        self,
        recipe: Recipe,
        python: str,
        name: str,
        tell: Callable[[str], None],
        stop: threading.Event,
    ) -> Environment:
        folder = self._folder / name
        built = False

        def waiting() -> None:
            tell(f"waiting for environment {name[:8]} ({recipe.label}): another process has it")

        while True:
            lock = os.open(self.lock_path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _wait_for(lock, fcntl.LOCK_SH, stop, waiting)
                if (folder / MANIFEST).exists():
                    os.utime(folder)  # it is in use: see gc
                    kept, lock = lock, -1
                    return Environment(folder, name, built, kept)
                # Between one lock and the next others may build it, or remove it: look again.
                fcntl.flock(lock, fcntl.LOCK_UN)
                _wait_for(lock, fcntl.LOCK_EX, stop, waiting)
                if not (folder / MANIFEST).exists():
                    self._build(recipe, python, name, lock, tell, stop)
                    built = True
            finally:
                if lock >= 0:
                    os.close(lock)

    def _build(
        self,
        recipe: Recipe,
        python: str,
        name: str,
        lock: int,
        tell: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._clean(name)
        log = self._folder / f"{name}.log"
        tell(f"building environment {name[:8]} ({recipe.label}); log: {log}")
        began = time.monotonic()
        unfinished = self._folder / f"{_files.TEMPORARY}{name}-{os.urandom(8).hex()}"
        try:
            Builder(unfinished, log, lock, stop).build(recipe, python, self._folder / f"{name}.txt")
            unfinished.rename(self._folder / name)
        except BaseException:
            tell(f"environment {name[:8]} was not built")
            raise
        finally:
            _files.remove(unfinished)
        tell(f"built environment {name[:8]} in {time.monotonic() - began:.1f} s")

    def _clean(self, name: str) -> None:
        """Remove what builders have left that were killed: none lives, we hold the lock."""
        for left in self._folder.glob(f"{_files.TEMPORARY}{name}-*"):
            shutil.rmtree(left)
        if (self._folder / name).exists():  # no manifest: no environment
            shutil.rmtree(self._folder / name)

    def made_of(self, recipe: str) -> Environment | None:
        """Return the newest environment of the recipe whose digest begins so, to be looked at."""
        found = []
        for manifest in self._folder.glob(f"[!.]*/{MANIFEST}"):
            with contextlib.suppress(OSError, ValueError):
                if str(json.loads(manifest.read_bytes()).get("recipe", "")).startswith(recipe):
                    found.append(manifest)
        found.sort(key=lambda path: path.stat().st_mtime)
        return Environment(found[-1].parent, found[-1].parent.name) if found else None

    def lock_path(self, name: str) -> Path:
        """Return the file that is locked by who builds, uses or removes an environment."""
        return self._folder / f"{name}.lock"

    def unused(self, before: float) -> Iterator[Path]:
        """Yield the environments that nobody uses, nor has begun to use since a time."""
        for manifest in self._folder.glob(f"[!.]*/{MANIFEST}"):
            folder = manifest.parent
            if folder.stat().st_mtime < before:
                with self._alone(folder.name) as is_free:
                    pass
                if is_free:
                    yield folder

    def remove(self, folder: Path) -> bool:
        """Remove an environment unless somebody uses it; tell whether it is gone.

        The versions of what was in it are kept: built again, it will be what it was.
        """
        with self._alone(folder.name) as is_free:
            if not is_free:
                return False
            doomed = self._folder / f"{_files.TEMPORARY}{folder.name}-{os.urandom(8).hex()}"
            folder.rename(doomed)  # whole, or not there
            _files.remove(doomed)
            _files.remove(self._folder / f"{folder.name}.log")
            return True

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[bool]:
        lock = os.open(self.lock_path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(lock)


def name_of(recipe: Recipe, python: str, version: str) -> str:
    """Return the name of a recipe's environment: a digest of everything that decides it.

    Args:
        recipe: The recipe.
        python: Path of the interpreter.
        version: Its implementation and version.
    """
    parts = (
        encode_recipe(recipe).hex(),
        os.path.realpath(python),
        version,
        platform.system(),
        platform.machine(),
        VERSION,
        str(Path(building.__file__).parents[1]),
        *building.NEEDS,
    )
    return digest("\0".join(parts).encode()).hex()


def _wait_for(lock: int, kind: int, stop: threading.Event, waiting: Callable[[], None]) -> None:
    """Lock a file. If others hold it for a while, say so, once."""
    due = time.monotonic() + TOLD_SECONDS
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > due:
                due = math.inf
                waiting()
            if stop.wait(_POLL_SECONDS):
                raise Stopped from None
        else:
            return
