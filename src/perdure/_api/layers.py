"""Layers: what an image adds to what it began with, in order, as plain values."""

from dataclasses import dataclass
from pathlib import Path

from perdure._environments import reading
from perdure._environments.recipe import Install, Options, Project
from perdure.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class PipOptions:
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


@dataclass(frozen=True)
class PipPackages(PipOptions):
    """Requirements."""

    packages: tuple[str, ...]

    def step(self) -> Install:
        """Return what is to be installed."""
        return reading.packages(self.packages, self.options)


@dataclass(frozen=True)
class RequirementsFile(PipOptions):
    """A requirements file."""

    file: Path

    def step(self) -> Install:
        """Return what is to be installed."""
        return reading.requirements_file(self.file, self.options)


@dataclass(frozen=True)
class UvScript(PipOptions):
    """A script whose header lists what it needs (PEP 723)."""

    script: Path

    def step(self) -> Install:
        """Return what is to be installed."""
        return reading.script(self.script, self.options)[0]


@dataclass(frozen=True)
class UvProject(PipOptions):
    """A project of uv."""

    pyproject: Path
    lock: Path | None = None
    itself: bool = False

    def step(self) -> Project:
        """Return what is to be installed."""
        return reading.uv_project(self.pyproject, self.lock, self.options, itself=self.itself)


@dataclass(frozen=True)
class PoetryProject(PipOptions):
    """A project of Poetry."""

    pyproject: Path
    lock: Path
    itself: bool = False

    def step(self) -> Install:
        """Return what is to be installed."""
        return reading.poetry_project(self.pyproject, self.lock, self.options, itself=self.itself)


@dataclass(frozen=True)
class EnvVars:
    """Environment variables."""

    variables: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AptPackages:
    """Packages of the operating system."""

    packages: tuple[str, ...]


@dataclass(frozen=True)
class Commands:
    """Commands that are run when a container image is built."""

    commands: tuple[str, ...]


@dataclass(frozen=True)
class WorkDir:
    """The working directory in a container."""

    folder: str


@dataclass(frozen=True)
class Copied:
    """A file or a folder that is copied into a container image."""

    source: Path
    destination: str
    is_folder: bool


@dataclass(frozen=True)
class CodeBundle:
    """The code of the run, in a container image."""

    copy_style: str
    destination: str


@dataclass(frozen=True)
class DockerIgnore:
    """What a container image is made without."""

    file: Path


Installed = PipPackages | RequirementsFile | UvScript | UvProject | PoetryProject
Layer = Installed | EnvVars | AptPackages | Commands | WorkDir | Copied | CodeBundle | DockerIgnore
