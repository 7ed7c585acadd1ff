"""Layers: what an image adds to what it began with, in order, as plain values."""

from pathlib import Path

import msgspec

from perdure._environments import reading
from perdure._environments.recipe import Install, Options, Project
from perdure.errors import ConfigurationError


class PipOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the packages of a layer are looked for; see :meth:`Image.with_pip_packages`."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    extra_args: str = ""

    def __post_init__(self) -> None:
        for url in (self.index_url, *self.extra_index_urls):
            if "@" in url.partition("://")[2].partition("/")[0]:
                raise ConfigurationError(
                    "the URL of an index holds a password, which would be kept with every run",
                    hint="put it where uv looks: a netrc file, or UV_INDEX_<NAME>_PASSWORD",
                )

    @property
    def options(self) -> Options:
        """The same, for the recipe."""
        return Options(self.index_url, self.extra_index_urls, self.pre, self.extra_args)


class PipPackages(PipOptions, frozen=True):
    """Requirements."""

    packages: tuple[str, ...]

    def step(self) -> Install:
        """Return what is to be installed."""
        return reading.packages(self.packages, self.options)


class RequirementsFile(PipOptions, frozen=True):
    """A requirements file."""

    file: Path

    def step(self) -> Install:
        """Return what is to be installed."""
        return reading.requirements_file(self.file, self.options)


class UvScript(PipOptions, frozen=True):
    """A script whose header lists what it needs (PEP 723)."""

    script: Path

    def step(self) -> Install:
        """Return what is to be installed."""
        return reading.script(self.script, self.options)[0]


class UvProject(PipOptions, frozen=True):
    """A project of uv."""

    pyproject: Path
    lock: Path | None = None
    itself: bool = False

    def step(self) -> Project:
        """Return what is to be installed."""
        return reading.uv_project(self.pyproject, self.lock, self.options, itself=self.itself)


class PoetryProject(PipOptions, frozen=True):
    """A project of Poetry."""

    pyproject: Path
    lock: Path
    itself: bool = False

    def step(self) -> Install:
        """Return what is to be installed."""
        return reading.poetry_project(self.pyproject, self.lock, self.options, itself=self.itself)


class EnvVars(msgspec.Struct, frozen=True):
    """Environment variables."""

    variables: tuple[tuple[str, str], ...]


class AptPackages(msgspec.Struct, frozen=True):
    """Packages of the operating system."""

    packages: tuple[str, ...]


class Commands(msgspec.Struct, frozen=True):
    """Commands that are run when a container image is built."""

    commands: tuple[str, ...]


class WorkDir(msgspec.Struct, frozen=True):
    """The working directory in a container."""

    folder: str


class Copied(msgspec.Struct, frozen=True):
    """A file or a folder that is copied into a container image."""

    source: Path
    destination: str
    is_folder: bool


class CodeBundle(msgspec.Struct, frozen=True):
    """The code of the run, in a container image."""

    copy_style: str
    destination: str


class DockerIgnore(msgspec.Struct, frozen=True):
    """What a container image is made without."""

    file: Path


Installed = PipPackages | RequirementsFile | UvScript | UvProject | PoetryProject
Layer = Installed | EnvVars | AptPackages | Commands | WorkDir | Copied | CodeBundle | DockerIgnore
