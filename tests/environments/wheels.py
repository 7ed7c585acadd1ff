"""Wheels made on the fly, so that uv needs no index: small ones, and those of what is installed."""

import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from perdure._environments.building import NEEDS


def tiny(folder: Path, version: str, name: str = "tiny", start: str = "") -> None:
    """Make a wheel of a package that knows its version, and has a class.

    Args:
        folder: Where to.
        version: Of the package.
        name: Of the package.
        start: A line of code that interpreters execute when they start where it is installed.
    """
    information = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n\n\nclass Thing:\n    pass\n",
        f"{information}/METADATA": metadata,
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if start:
        files[f"{name}.pth"] = f"{start}\n"
    files[f"{information}/RECORD"] = "".join(f"{path},,\n" for path in files)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def needs(folder: Path, find: Callable[[str], Distribution] = distribution) -> None:
    """Make wheels of what workers need, from what is installed here, or elsewhere."""
    for each in _needed(find):
        _repack(each, folder)


def neighbour() -> tuple[str, Callable[[str], Distribution]] | None:
    """Return another Python that has what workers need beside this one, and finds it there.

    The gate keeps an environment for each Python in one folder.
    """
    for site in sorted(Path(sys.prefix).parent.glob("*/lib/python3.*/site-packages")):
        number = site.parent.name.removeprefix("python")
        if number != "{}.{}".format(*sys.version_info):
            find = {
                canonicalize_name(each.name): each for each in distributions(path=[str(site)])
            }.__getitem__
            try:
                _needed(find)
            except KeyError:
                continue
            return number, find
    return None


def _needed(find: Callable[[str], Distribution]) -> list[Distribution]:
    waiting = [Requirement(line).name for line in NEEDS]
    done: dict[str, Distribution] = {}
    while waiting:
        name = waiting.pop()
        if name not in done:
            done[name] = find(name)
            for line in done[name].requires or ():
                wanted = Requirement(line)
                if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                    waiting.append(wanted.name)
    return list(done.values())


def _repack(installed: Distribution, folder: Path) -> None:
    information = installed.read_text("WHEEL") or ""
    (tag, *_) = [line[5:] for line in information.splitlines() if line.startswith("Tag: ")]
    name = installed.name.replace("-", "_")
    with zipfile.ZipFile(folder / f"{name}-{installed.version}-{tag}.whl", "w") as wheel:
        for file in installed.files or ():
            if not file.parts[0].startswith("..") and "__pycache__" not in file.parts:
                wheel.write(str(file.locate()), str(file))


def slow(folder: Path) -> None:
    """Make a project whose build begins with a mark and waits for ``go``."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "slow"\nversion = "1.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / "backend.py").write_text(BACKEND)


BACKEND = """
import os, pathlib, time, zipfile

MARKS = pathlib.Path(os.environ["MARKS"])


def build_wheel(directory, settings=None, metadata=None):
    with (MARKS / "builds").open("a") as marks:
        marks.write("one\\n")
    while not (MARKS / "go").exists():
        time.sleep(0.005)
    name = "slow-1.0-py3-none-any.whl"
    information = "slow-1.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as wheel:
        wheel.writestr("slow.py", "")
        for file, lines in {
            "METADATA": ["Metadata-Version: 2.1", "Name: slow", "Version: 1.0"],
            "WHEEL": ["Wheel-Version: 1.0", "Root-Is-Purelib: true", "Tag: py3-none-any"],
            "RECORD": [],
        }.items():
            wheel.writestr(f"{information}/{file}", "".join(f"{line}\\n" for line in lines))
    return name
"""
