"""Recipes: what is to be installed, as plain data with one encoding."""

import shlex
from hashlib import blake2b
from pathlib import Path

import msgspec

from perdure._core.ids import DIGEST_BYTES
from perdure.errors import ConfigurationError

LEAST_PYTHON = (3, 11)
"""What workers need."""

_LABEL = 60


class Source(msgspec.Struct, frozen=True, array_like=True):
    """A file or a folder that is installed from, and the digest of what it holds."""

    path: str
    digest: bytes


class Options(msgspec.Struct, frozen=True, array_like=True):
    """Where packages are looked for, and which are taken.

    Attributes:
        index_url: Index in place of the default one.
        extra_index_urls: Further ones.
        pre: Pre-releases are fine.
        extra_args: Further arguments of uv, as in a shell.
        exclude_newer: Packages published later do not exist.
    """

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    extra_args: str = ""
    exclude_newer: str = ""

    def arguments(self) -> list[str]:
        """Return them as arguments of ``uv pip install``."""
        given = ["--default-index", self.index_url] if self.index_url else []
        for url in self.extra_index_urls:
            given += ["--index", url]
        if self.pre:
            given.append("--pre")  # unlike --prerelease, extra_args may have that as well
        if self.exclude_newer:
            given += ["--exclude-newer", self.exclude_newer]
        return given + shlex.split(self.extra_args)


class Install(msgspec.Struct, frozen=True, array_like=True, tag="install"):
    """Install packages.

    Attributes:
        requirements: Lines of a requirements file; paths in it are absolute.
        constraints: Lines of a constraints file.
        options: Where from.
        sources: What the lines refer to on this machine.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    options: Options = Options()
    sources: tuple[Source, ...] = ()

    @property
    def label(self) -> str:
        """The packages, in words."""
        return ", ".join(line for line in self.requirements if not line.startswith("-"))


class Project(msgspec.Struct, frozen=True, array_like=True, tag="project"):
    """Install what a project of uv depends on, as its lock says if it has one.

    Attributes:
        pyproject: Its ``pyproject.toml``.
        lock: Its ``uv.lock``.
        options: Where from.
        itself: The folder of the project, if it is to be installed, too.
    """

    pyproject: Source
    lock: Source | None = None
    options: Options = Options()
    itself: Source | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        """What it refers to on this machine."""
        return tuple(each for each in (self.pyproject, self.lock, self.itself) if each is not None)

    @property
    def label(self) -> str:
        """The project, in words."""
        return f"project {Path(self.pyproject.path).parent.name}"


class Recipe(msgspec.Struct, frozen=True, array_like=True):
    """All that decides what is installed.

    Attributes:
        python: Version of Python, ``3.12``; "": that of the run.
        requires_python: What it has to satisfy besides, as in ``>=3.12``.
        steps: What is done, in order.
    """

    python: str = ""
    requires_python: str = ""
    steps: tuple[Install | Project, ...] = ()

    @property
    def label(self) -> str:
        """The recipe in a few words."""
        parts = [f"Python {self.python or self.requires_python}"] if self.asks_for_python else []
        text = ", ".join((*parts, *(step.label for step in self.steps)))
        return text if len(text) <= _LABEL else f"{text[: _LABEL - 4]} ..."

    @property
    def asks_for_python(self) -> bool:
        """Whether not every version of Python will do."""
        return bool(self.python or self.requires_python)


encode_recipe = msgspec.msgpack.Encoder().encode
decode_recipe = msgspec.msgpack.Decoder(Recipe).decode


def source(path: Path) -> Source:
    """Return a file or a folder with the digest of what it holds now.

    Of a folder, what builds leave behind does not count, nor does what begins with a dot.

    Raises:
        ConfigurationError: It is not there.
    """
    path = path.expanduser().absolute()
    hasher = blake2b(digest_size=DIGEST_BYTES)
    try:
        if path.is_dir():
            for file in sorted(_files_of(path)):
                hasher.update(f"{file.relative_to(path).as_posix()}\0".encode())
                hasher.update(blake2b(file.read_bytes()).digest())
        else:
            hasher.update(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    return Source(str(path), hasher.digest())


_LEFT_BEHIND = frozenset({"__pycache__", "build", "dist", "node_modules"})


def _files_of(folder: Path) -> list[Path]:
    found: list[Path] = []
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name in _LEFT_BEHIND:
            continue
        if entry.is_dir() and not entry.is_symlink():
            found += [] if entry.suffix == ".egg-info" else _files_of(entry)
        elif entry.is_file():
            found.append(entry)
    return found
