"""Control groups (Linux): which ones this process is in, and where their files are.

Of version 2 there is one hierarchy, of version 1 one for each controller or for some together; a
machine may have both, each controller in one of them. A limit holds for all groups below, so outer
groups count as well, as far as they can be seen: in a container, its own is mostly the outermost.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Group(NamedTuple):
    """A control group: version 1 or 2, and the folder of its files."""

    version: int
    folder: Path


class _Mount(NamedTuple):
    """Where a hierarchy can be seen, from which of its groups on."""

    version: int
    root: str
    point: Path
    controllers: list[str]


def groups(controller: str, proc: Path = PROC) -> list[Group]:
    """Return the groups of this process where ``controller`` may be limited, its own one first.

    Files that tell of the controller may be missing there: it may be in the other version.
    """
    found: dict[Group, None] = {}
    own = _own_paths(controller, proc)
    for mount in _mounts(proc):
        if mount.version in own and (mount.version == 2 or controller in mount.controllers):
            folder = mount.point / _inside(mount.root, own[mount.version])
            for each in (folder, *folder.parents):
                found[Group(mount.version, each)] = None
                if each == mount.point:
                    break
    return list(found)


def own_group(proc: Path = PROC) -> Path | None:
    """Return the folder of this process's group of version 2, None if it cannot be seen."""
    return next((folder for version, folder in groups("memory", proc) if version == 2), None)


def _own_paths(controller: str, proc: Path) -> dict[int, str]:
    """Return the path of this process's group by version."""
    paths = {}
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            paths[2] = path
        elif controller in controllers.split(","):
            paths[1] = path
    return paths


def _mounts(proc: Path) -> Iterator[_Mount]:
    for line in _lines(proc / "self" / "mountinfo"):
        where, _, what = line.partition(" - ")
        kind, _, options = what.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            root, point = where.split(" ")[3:5]
            version = 2 if kind == "cgroup2" else 1
            yield _Mount(version, _unescaped(root), Path(_unescaped(point)), options.split(","))


def _inside(root: str, path: str) -> str:
    """Return the way from one group to another; "" if it is not below, and so cannot be seen."""
    way = f"{path}/".removeprefix(f"{root.rstrip('/')}/")
    return "" if way.startswith("/") or ".." in way.split("/") else way.rstrip("/")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), text)  # \040: a space


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text().splitlines()
    return []
