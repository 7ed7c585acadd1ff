"""Workers of environments that are forked here, not by a process of that environment.

To start an interpreter and to import what a worker needs takes 0.2 s of CPU for every environment.
Most often that process would be like this one: the same interpreter, the same files of the few
packages that Perdure needs. They differ in where else packages are found, which nobody has asked
yet. So a fork of this process can be made a worker of the environment, a *guest*.

That is done only if nothing is loaded here that would be another thing there. In doubt the answer
is no, and the environment gets a forkserver of its own, which is slower and always right.
"""

import functools
import importlib
import os
import re
import site
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_OPTIONAL = "typing_extensions"
"""msgspec imports it where it is there, and takes nothing from it that ``typing`` has not, too."""

_FINDERS = re.compile(r"_distutils_hack|_virtualenv|__editable___\w+_finder")
"""Modules that an installation has imported at start-up, and that do nothing but find others."""

_FINDER_LINES = re.compile(
    rf"import ({_FINDERS.pattern})\b.*|import os; var = 'SETUPTOOLS_USE_DISTUTILS'; .*"
)
_NO_MORE = "include-system-site-packages = false"
_CUSTOMIZED = ("sitecustomize", "usercustomize")
_CYTHON = re.compile(r"cython_runtime|_cython_\w+")  # made by modules that are compiled with it
_STDLIB = str(Path(os.__file__).parent)
_PERDURE = Path(__file__).parents[1]
_SITES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def may_move_in(folder: Path) -> bool:
    """Whether a fork of this process can become a worker of the environment in a folder."""
    packages = _packages(folder)
    try:
        return (
            _is_plain()
            and _NO_MORE in (folder / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
            and _executable(folder).resolve() == Path(sys.executable).resolve()
            and not _runs_code(packages)
            and (str(_PERDURE.parent) in _kept_path() or (packages / "perdure").samefile(_PERDURE))
            and _has(packages)
        )
    except (OSError, ValueError, LookupError):  # something is missing, or cannot be read
        return False


def move_in(folder: Path) -> None:
    """Make this process one of the environment's interpreter, as far as Python can tell.

    What an interpreter does when it starts there is left to where it is written: ``site``.
    """
    for name in [name for name in sys.modules if _is_forgotten(name)]:
        del sys.modules[name]
    sys.meta_path[:] = filter(_stays, sys.meta_path)
    sys.path_hooks[:] = filter(_stays, sys.path_hooks)
    sys.path[:] = _kept_path()
    sys.path_importer_cache.clear()
    sys.executable = sys.orig_argv[0] = str(_executable(folder))
    sys.prefix, sys.exec_prefix = sys.base_prefix, sys.base_exec_prefix
    os.environ.pop("__PYVENV_LAUNCHER__", None)  # macOS: it would name the other interpreter
    importlib.import_module("site")  # sets the prefix, adds the packages, obeys .pth files


def _executable(folder: Path) -> Path:
    return folder / "bin" / "python"


def _packages(folder: Path) -> Path:
    return folder / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"


def _is_forgotten(module: str) -> bool:
    """Whether a guest imports a module anew, from its environment or with its prefix."""
    top = module.partition(".")[0]
    return top in ("site", "sysconfig", _OPTIONAL) or _FINDERS.fullmatch(top) is not None


def _stays(hook: object) -> bool:
    """Whether something that finds modules is of Python, or of Perdure."""
    top = str(getattr(hook, "__module__", "")).partition(".")[0]
    return top in ("_frozen_importlib", "_frozen_importlib_external", "zipimport", _PERDURE.name)


@functools.cache
def _is_plain() -> bool:
    """Whether nothing is loaded here that an installation, or a user, has brought in."""
    return (
        "PYTHONHOME" not in os.environ
        and _STDLIB in _kept_path()
        and not any(_runs_code(Path(each)) for each in _sites())
        and all(_is_known(name, module) for name, module in sys.modules.items())
    )


def _sites() -> list[str]:
    """Return the folders that packages are installed in for the interpreter of this process."""
    users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return site.getsitepackages() + users


@functools.cache
def _kept_path() -> list[str]:
    """Return the entries of the import path that an environment's interpreter has, too."""
    asked = "" if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "")
    # As site does it, which has seen to the import path.
    kept = {os.path.abspath(entry) for entry in asked.split(os.pathsep) if asked}  # noqa: PTH100
    archive = "python{}{}.zip".format(*sys.version_info)
    return [
        entry
        for entry in sys.path
        if entry in kept or entry == _STDLIB or Path(entry).name in ("lib-dynload", archive)
    ]


def _runs_code(packages: Path) -> bool:
    """Whether an interpreter that has this folder executes something in it when it starts."""
    if not packages.is_dir():
        return False
    for entry in os.listdir(packages):  # noqa: PTH208  # names are all that is wanted
        if entry.startswith(_CUSTOMIZED):
            return True
        if entry.endswith(".pth"):
            for line in (packages / entry).read_text(encoding="utf-8-sig").splitlines():
                is_code = line.startswith(("import ", "import\t"))
                if is_code and not _FINDER_LINES.fullmatch(line.rstrip()):
                    return True
    return False


def _is_known(name: str, module: ModuleType) -> bool:
    """Whether it is of Python, or has a file, which can be compared."""
    top = name.partition(".")[0]
    return (
        getattr(module, "__file__", None) is not None
        or top == "__main__"
        or top in sys.stdlib_module_names
        or _CYTHON.fullmatch(top) is not None
    )


def _has(packages: Path) -> bool:
    """Whether the folder has the very files that are loaded here, as is recorded there."""
    for distribution, files in _needed().items():
        there = _recorded(packages / distribution)
        for file, (digest, size) in files.items():
            if there.get(file) != (digest, size) or (packages / file).stat().st_size != int(size):
                return False
    return True


@functools.cache
def _needed() -> dict[str, dict[str, tuple[str, str]]]:
    """Return digests and sizes of the files of packages that are loaded here, by distribution.

    Raises:
        ValueError: Nobody has recorded one of them.
    """
    needed: dict[str, dict[str, tuple[str, str]]] = {}
    for folder, file in _loaded():
        distribution = _distribution(folder, Path(file).parts[0].partition(".")[0])
        recorded = _recorded(folder / distribution).get(file)
        if recorded is None:
            raise ValueError(file)
        needed.setdefault(distribution, {})[file] = recorded
    return needed


def _loaded() -> Iterator[tuple[Path, str]]:
    """Yield the files that are loaded from packages that an environment has for itself."""
    for name, module in sys.modules.items():
        file, top = getattr(module, "__file__", None), name.partition(".")[0]
        if file is None or top == _PERDURE.name or _is_forgotten(name):
            continue
        if file.startswith(_STDLIB + os.sep) and not any(part in file for part in _SITES):
            continue
        package = sys.modules[top]
        folder = Path(str(package.__file__)).parents[1 if hasattr(package, "__path__") else 0]
        if str(folder) not in _kept_path():
            yield folder, str(Path(file).relative_to(folder))


@functools.cache
def _distribution(folder: Path, module: str) -> str:
    """Return the folder that tells of what a module was installed by."""
    for entry in os.listdir(folder):  # noqa: PTH208
        name, _, rest = entry.partition("-")
        if rest.endswith(".dist-info") and name.lower().replace(".", "_") == module.lower():
            return entry
    raise ValueError(module)


def _recorded(information: Path) -> dict[str, tuple[str, str]]:
    """Return digest and size of every file that a distribution has installed."""
    found = {}
    for line in (information / "RECORD").read_text(encoding="utf-8").splitlines():
        file, digest, size = line.rsplit(",", 2)
        if digest and size:
            found[file] = digest, size
    return found
