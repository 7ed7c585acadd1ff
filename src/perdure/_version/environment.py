"""The environment: Python and what is installed beside it.

What is installed is read from the names of the ``*.dist-info`` folders on the import path, which
takes a few milliseconds; ``importlib.metadata`` would open a file for each. It is read again only
when one of the folders of the path has changed.
"""

import json
import os
import re
import sys
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from perdure._core.ids import DIGEST_BYTES
from perdure._environments.fitting import EDITABLE

_TOOLS = frozenset(("perdure", "pip", "uv", "wheel"))  # no task's results depend on them
_SEPARATORS = re.compile(r"[-_.]+")
_EGG_TAIL = re.compile(r"-py\d[\d.]*$")


class Environment(NamedTuple):
    """What project code runs on.

    Attributes:
        digest: 16 bytes over implementation and minor version of Python and the packages, but for
            those that install packages, and Perdure.
        python: Implementation and version, e.g. ``cpython-3.11.7``.
        packages: ``(name, version)`` of everything installed, by name.
    """

    digest: bytes
    python: str
    packages: tuple[tuple[str, str], ...]


def python_version() -> str:
    """Return implementation and version of this interpreter, e.g. ``cpython-3.11.7``."""
    return f"{sys.implementation.name}-{'.'.join(map(str, sys.version_info[:3]))}"


_known: "tuple[tuple[tuple[str, int], ...], Environment] | None" = None
_outside: tuple[tuple[str, ...], str] | None = None


def stand_for(sys_path: tuple[str, ...], python: str) -> None:
    """This process runs in the environment of an image, on behalf of one that does not.

    What it calls is to be known by the environment of that one, as it is everywhere in the run.

    Args:
        sys_path: Its import path.
        python: Its implementation and version.
    """
    global _known, _outside
    _known, _outside = None, (sys_path, python)


def is_an_images() -> bool:
    """Whether this process runs in the environment of an image."""
    return _outside is not None


def environment() -> Environment:
    """Return the environment of this process, or of the one that it stands for."""
    global _known
    sys_path, python = _outside or (tuple(sys.path), python_version())
    folders = _folders(sys_path)
    if _known is None or _known[0] != folders:
        packages = _packages([folder for folder, _ in folders])
        _known = (folders, Environment(_digest(packages, python), python, packages))
    return _known[1]


def to_text(found: Environment) -> bytes:
    """Return an environment as JSON, the same bytes for the same environment."""
    return json.dumps([found.python, found.packages], separators=(",", ":")).encode()


def from_text(text: bytes) -> Environment:
    """Return the environment that :func:`to_text` has written."""
    python, packages = json.loads(text)
    pairs = tuple((str(name), str(version)) for name, version in packages)
    return Environment(_digest(pairs, python), python, pairs)


def differences(old: Environment, new: Environment) -> list[str]:
    """Return what differs in words: ``numpy 2.1.0 -> 2.2.0``, ``+ rich 14.0``, ``- six 1.17``."""
    found = [] if old.python == new.python else [f"{old.python} -> {new.python}"]
    before, after = dict(old.packages), dict(new.packages)
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            found.append(f"- {name} {before[name]}")
        elif name not in before:
            found.append(f"+ {name} {after[name]}")
        elif before[name] != after[name]:
            found.append(f"{name} {before[name]} -> {after[name]}")
    return found


def _folders(sys_path: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Return the folders of an import path with their times of change."""
    found = []
    for entry in dict.fromkeys(sys_path):
        try:
            found.append((entry, os.stat(entry or ".").st_mtime_ns))  # noqa: PTH116  # asked often
        except OSError:
            continue
    return tuple(found)


def _packages(folders: list[str]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for folder in folders:
        try:
            entries = list(os.scandir(folder or "."))
        except OSError:  # a zip file, or gone
            continue
        for entry in entries:
            stem, _, kind = entry.name.rpartition(".")
            if kind == "dist-info":
                name, _, version = stem.rpartition("-")
                version = EDITABLE if _is_editable(entry.path) else version
            elif kind == "egg-info":
                name, _, version = _EGG_TAIL.sub("", stem).partition("-")
            else:
                continue
            if name:  # what comes first on the path is what is imported
                found.setdefault(_SEPARATORS.sub("-", name).lower(), version)
    return tuple(sorted(found.items()))


def _is_editable(folder: str) -> bool:
    try:
        origin = json.loads((Path(folder) / "direct_url.json").read_bytes())
    except (OSError, ValueError):
        return False
    return bool(origin.get("dir_info", {}).get("editable"))


def _digest(packages: tuple[tuple[str, str], ...], python: str = "") -> bytes:
    minor = ".".join((python or python_version()).split(".")[:2])
    lines = [minor, *(f"{name} {version}" for name, version in packages if name not in _TOOLS)]
    return blake2b("\n".join(lines).encode(), digest_size=DIGEST_BYTES).digest()
