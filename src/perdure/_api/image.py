"""Images: what tasks find installed where they run, and in containers, what else they find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from perdure._api import layers
from perdure._api.layers import Layer, PipOptions
from perdure._environments.recipe import LEAST_PYTHON
from perdure.errors import ConfigurationError, NotSupportedError

AnyPath = str | Path
Urls = str | Sequence[str] | None

_MODES = {"dependencies_only": False, "install_project": True}


@dataclass(frozen=True)
class Image:
    """What a task finds installed: a version of Python, packages, environment variables.

    If the interpreter of the run has all of it, that is used. Otherwise an environment is made with
    uv, once, and the task's workers run in it. Images are values: methods return another one. ::

        image = perdure.Image.from_debian_base(python_version=(3, 12)).with_pip_packages("numpy<2")
        env = perdure.TaskEnvironment("old", image=image)

    What only containers have (a base image, packages of the operating system, commands) is kept
    for ``perdure image dockerfile``; on this machine it is not applied, which is told once, or is
    an error in runs that are ``strict``.

    Attributes:
        base_image: The image of a registry that it begins with; None: Python on Debian.
        dockerfile: The Dockerfile that it is made of instead.
        registry: Where a container image of it is pushed.
        name: How that is called.
        platform: For which machines that is made.
        python_version: Major and minor version of Python; None: that of the run.
        extendable: Whether anything may be added.
        layers: What was added, in order.
    """

    base_image: str | None = None
    dockerfile: Path | None = None
    registry: str | None = None
    name: str | None = None
    platform: tuple[str, ...] = ("linux/amd64",)
    python_version: tuple[int, int] | None = None
    extendable: bool = False
    layers: tuple[Layer, ...] = ()

    @property
    def _layers(self) -> tuple[Layer, ...]:
        """What Flyte 2's scripts call ``layers``."""
        return self.layers

    # --- what it begins with ----------------------------------------------------------------------

    @classmethod
    def from_debian_base(
        cls,
        python_version: tuple[int, int] | None = None,
        flyte_version: str | None = None,
        install_flyte: bool = True,
        registry: str | None = None,
        registry_secret: Any = None,
        name: str | None = None,
        platform: tuple[str, ...] | None = None,
    ) -> "Image":
        """Return an image with Python, Perdure and nothing else.

        Args:
            python_version: Major and minor version, ``(3, 12)``. ``None``: that of the run.
            flyte_version: Not supported; workers have this version of Perdure.
            install_flyte: Makes no difference: workers always have Perdure.
            registry: Where a container image of it is pushed.
            registry_secret: Has no meaning on one machine.
            name: How that is called.
            platform: For which machines that is made.

        Raises:
            ConfigurationError: It is no version.
        """
        del install_flyte, registry_secret
        if flyte_version is not None:
            raise NotSupportedError(
                "Image.from_debian_base(flyte_version=...) is not supported",
                hint="leave it out: workers have the version of Perdure that starts them",
            )
        return cls(
            registry=registry,
            name=name or "perdure",
            platform=platform or ("linux/amd64", "linux/arm64"),
            python_version=None if python_version is None else _version(python_version),
            extendable=True,
        )

    @classmethod
    def from_base(cls, image_uri: str) -> "Image":
        """Return an image of a registry; ``clone(extendable=True)`` lets more be added.

        On this machine what is in it is not known, and not there: only what is added is installed.
        """
        if not isinstance(image_uri, str) or not image_uri:
            raise ConfigurationError(f"Image.from_base({image_uri!r}): give the name of an image")
        return cls(base_image=image_uri)

    @classmethod
    def from_ref_name(cls, name: str = "default") -> "Image":
        """Return the image that a server's configuration calls so; there is none here."""
        return cls(base_image=name, name=name)

    @classmethod
    def from_dockerfile(
        cls,
        file: AnyPath,
        registry: str,
        name: str,
        platform: str | tuple[str, ...] | None = None,
    ) -> "Image":
        """Return the image that a Dockerfile describes. Nothing can be added to it here."""
        return cls(
            dockerfile=Path(file),
            registry=registry,
            name=name,
            platform=_platforms(platform) or ("linux/amd64",),
        )

    @classmethod
    def from_uv_script(
        cls,
        script: AnyPath,
        *,
        name: str = "perdure",
        registry: str | None = None,
        registry_secret: Any = None,
        python_version: tuple[int, int] | None = None,
        index_url: str | None = None,
        extra_index_urls: Urls = None,
        pre: bool = False,
        extra_args: str | None = None,
        platform: tuple[str, ...] | None = None,
        secret_mounts: Any = None,
    ) -> "Image":
        """Return an image with what the header of a script asks for (PEP 723).

        Args:
            script: The script; often ``__file__``.
            name: How a container image of it is called.
            registry: Where that is pushed.
            registry_secret: Has no meaning on one machine.
            python_version: As for :meth:`from_debian_base`; the header's ``requires-python`` holds
                in any case.
            index_url: As for :meth:`with_pip_packages`; likewise the others.
            extra_index_urls: Further indexes.
            pre: Pre-releases are fine.
            extra_args: Further arguments of uv.
            platform: For which machines a container image is made.
            secret_mounts: Not supported.

        Raises:
            ConfigurationError: There is no such script, or it has no header.
        """
        path = Path(script)
        if path.suffix != ".py":
            raise ConfigurationError(f"the script {path} has no name that ends in .py")
        base = cls.from_debian_base(
            python_version, registry=registry, registry_secret=registry_secret, name=name,
            platform=platform,
        )  # fmt: skip
        given = _options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        return _extended(base, layers.UvScript(path.absolute(), **given))

    def clone(
        self,
        registry: str | None = None,
        registry_secret: Any = None,
        name: str | None = None,
        base_image: str | None = None,
        python_version: tuple[int, int] | None = None,
        addl_layer: Layer | None = None,
        extendable: bool | None = None,
        platform: str | tuple[str, ...] | None = None,
    ) -> "Image":
        """Return the image with some things changed; what is not given stays as it is."""
        del registry_secret  # has no meaning on one machine
        changed = replace(
            self,
            registry=registry or self.registry,
            name=name or self.name,
            base_image=base_image or self.base_image,
            python_version=_version(python_version) if python_version else self.python_version,
            extendable=self.extendable if extendable is None else extendable,
            platform=_platforms(platform) or self.platform,
        )
        return changed if addl_layer is None else _extended(changed, addl_layer)

    # --- packages ---------------------------------------------------------------------------------

    def with_pip_packages(
        self,
        *packages: str,
        index_url: str | None = None,
        extra_index_urls: Urls = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: Any = None,
    ) -> "Image":
        """Add packages.

        Args:
            *packages: Requirements such as ``"numpy>=2"``, or paths of folders and wheels.
            index_url: Index in place of the one that is configured for uv, or else for pip.
            extra_index_urls: Further ones.
            pre: Pre-releases are fine.
            extra_args: Further arguments of ``uv pip install``, as in a shell.
            secret_mounts: Not supported.

        Raises:
            ConfigurationError: One of them is no requirement.
        """
        for package in packages:
            if not isinstance(package, str) or not package.strip():
                raise ConfigurationError(
                    f"with_pip_packages({package!r}): each package is a string of its own",
                    hint='write with_pip_packages("numpy", "pandas>=2"), without a list',
                )
        given = _options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        layer = layers.PipPackages(packages, **given)
        layer.step()  # what makes no sense is told where it is written
        return _extended(self, layer)

    def with_requirements(
        self,
        file: AnyPath,
        index_url: str | None = None,
        extra_index_urls: Urls = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: Any = None,
    ) -> "Image":
        """Add what a requirements file lists, with the files it includes.

        Args:
            file: The file; its name ends in ``.txt``.
            index_url: As for :meth:`with_pip_packages`; likewise the others.
            extra_index_urls: Further indexes.
            pre: Pre-releases are fine.
            extra_args: Further arguments of uv.
            secret_mounts: Not supported.
        """
        path = Path(file)
        if path.suffix != ".txt":
            raise ConfigurationError(f"the requirements file {path} has no name that ends in .txt")
        given = _options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        return _extended(self, layers.RequirementsFile(path.absolute(), **given))

    def with_uv_project(
        self,
        pyproject_file: AnyPath,
        uvlock: Path | None = None,
        index_url: str | None = None,
        extra_index_urls: Urls = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: Any = None,
        project_install_mode: str = "dependencies_only",
    ) -> "Image":
        """Add what a project of uv depends on, in the versions of its lock if it has one.

        Args:
            pyproject_file: Its ``pyproject.toml``.
            uvlock: Its lock; ``None``: the ``uv.lock`` beside it, if there is one.
            index_url: As for :meth:`with_pip_packages`; likewise the others.
            extra_index_urls: Further indexes.
            pre: Pre-releases are fine.
            extra_args: Further arguments of ``uv export``, such as ``--extra ml --no-dev``.
            secret_mounts: Not supported.
            project_install_mode: ``"install_project"``: and the project itself.
        """
        path = Path(pyproject_file).absolute()
        beside = path.parent / "uv.lock"
        if uvlock is not None and Path(uvlock).absolute() != beside:
            raise NotSupportedError(
                f"with_uv_project(uvlock={str(uvlock)!r}): uv reads the lock beside the project",
                hint=f"put it at {beside}",
            )
        given = _options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        lock = beside if uvlock is not None or beside.exists() else None
        itself = _installs_itself(project_install_mode)
        return _extended(self, layers.UvProject(path, lock, itself, **given))

    def with_poetry_project(
        self,
        pyproject_file: AnyPath,
        poetry_lock: Path | None = None,
        extra_args: str | None = None,
        secret_mounts: Any = None,
        project_install_mode: str = "dependencies_only",
    ) -> "Image":
        """Add what a project of Poetry depends on, in the versions of its lock.

        Args:
            pyproject_file: Its ``pyproject.toml``.
            poetry_lock: Its lock; ``None``: the ``poetry.lock`` beside it.
            extra_args: Not supported: the packages are installed by uv.
            secret_mounts: Not supported.
            project_install_mode: ``"install_project"``: and the project itself.
        """
        if extra_args:
            raise NotSupportedError(
                f"with_poetry_project(extra_args={extra_args!r}) is not supported",
                hint="leave it out: uv installs the versions of the lock",
            )
        path = Path(pyproject_file).absolute()
        lock = Path(poetry_lock).absolute() if poetry_lock else path.parent / "poetry.lock"
        given = _options(None, None, False, None, secret_mounts)
        itself = _installs_itself(project_install_mode)
        return _extended(self, layers.PoetryProject(path, lock, itself, **given))

    def with_env_vars(self, env_vars: Mapping[str, str]) -> "Image":
        """Add environment variables; those of the task and of its environment go before."""
        for name, value in env_vars.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise ConfigurationError(f"with_env_vars: {name!r}: {value!r} is no text")
        return _extended(self, layers.EnvVars(tuple(env_vars.items())))

    def with_local_v2(self) -> "Image":
        """Return the image as it is: workers have the Perdure that starts them in any case."""
        return self

    # --- what is left out -------------------------------------------------------------------------

    @classmethod
    def from_pixi_script(cls, *args: object, **options: object) -> NoReturn:
        """Refuse: nothing is installed from conda's channels."""
        _refuse_pixi("from_pixi_script")

    def with_pixi_project(self, *args: object, **options: object) -> NoReturn:
        """Refuse: nothing is installed from conda's channels."""
        _refuse_pixi("with_pixi_project")

    def with_local_v2_plugins(self, *args: object, **options: object) -> NoReturn:
        """Refuse: Perdure has no plugins."""
        raise NotSupportedError("Image.with_local_v2_plugins is not supported", hint="leave it out")

    # --- what only containers have ----------------------------------------------------------------

    def with_apt_packages(self, *packages: str, secret_mounts: Any = None) -> "Image":
        """Add packages of the operating system. Only containers have them."""
        _refuse_secrets(secret_mounts)
        return _extended(self, layers.AptPackages(_strings("with_apt_packages", packages)))

    def with_commands(self, commands: Sequence[str], secret_mounts: Any = None) -> "Image":
        """Add commands for the build of a container image, each as in a shell."""
        _refuse_secrets(secret_mounts)
        given = (commands,) if isinstance(commands, str) else tuple(commands)
        return _extended(self, layers.Commands(_strings("with_commands", given)))

    def with_workdir(self, workdir: str) -> "Image":
        """Set the working directory in a container; here it is that of the run."""
        return _extended(self, layers.WorkDir(workdir))

    def with_source_folder(
        self, src: AnyPath, dst: str = ".", copy_contents_only: bool = False
    ) -> "Image":
        """Copy a folder into a container image; here it is where it is.

        Args:
            src: The folder.
            dst: Where to, from the working directory.
            copy_contents_only: What is in it, rather than the folder.
        """
        folder = Path(src).absolute()
        where = f"./{folder.name}" if dst == "." and not copy_contents_only else dst
        return _extended(self, layers.Copied(folder, where, is_folder=True))

    def with_source_file(self, src: AnyPath | Sequence[AnyPath], dst: str = ".") -> "Image":
        """Copy files into a container image; here they are where they are."""
        image = self
        for file in [src] if isinstance(src, str | Path) else src:
            image = _extended(image, layers.Copied(Path(file).absolute(), dst, is_folder=False))
        return image

    def with_code_bundle(self, copy_style: str = "loaded_modules", dst: str = ".") -> "Image":
        """Take the code of the run along. On this machine workers have it in any case."""
        if copy_style not in ("loaded_modules", "all"):
            raise ConfigurationError(f"with_code_bundle({copy_style!r}): no such style")
        return _extended(self, layers.CodeBundle(copy_style, dst))

    def with_dockerignore(self, path: AnyPath) -> "Image":
        """Name the file that says what a container image is made without."""
        return _extended(self, layers.DockerIgnore(Path(path).absolute()))


def _extended(image: Image, layer: Layer) -> Image:
    """Return the image with something added."""
    if image.dockerfile is not None:
        raise ConfigurationError(
            f"nothing can be added to the image of {image.dockerfile}",
            hint="write it into that file",
        )
    if not image.extendable:
        raise ConfigurationError(
            f"nothing can be added to the image {image.base_image or image.name}",
            hint="use image.clone(extendable=True)",
        )
    return replace(image, layers=(*image.layers, layer))


def image_of(image: object) -> Image | None:
    """Return what ``image=`` means: an image, ``"auto"``, the name of one in a registry, or None.

    Raises:
        ConfigurationError: It is none of these.
    """
    if image is None or image == "auto" or isinstance(image, Image):
        return image if isinstance(image, Image) else None
    if isinstance(image, str) and image:
        return Image.from_base(image)
    raise ConfigurationError(
        f"image={image!r} is not perdure.Image",
        hint='write image=perdure.Image.from_debian_base().with_pip_packages("numpy")',
    )


def _refuse_pixi(method: str) -> NoReturn:
    raise NotSupportedError(
        f"Image.{method} is not supported",
        hint="what a package index has can be installed: with_pip_packages(...)",
    )


def _version(version: object) -> tuple[int, int]:
    if (
        isinstance(version, tuple | list)
        and len(version) == 2
        and all(isinstance(part, int) for part in version)
    ):
        if tuple(version) < LEAST_PYTHON:
            raise ConfigurationError(
                f"python_version={version!r} is too old for tasks",
                hint=f"write python_version={LEAST_PYTHON}, or a later one",
            )
        return (version[0], version[1])
    raise ConfigurationError(
        f"python_version={version!r} is no version of Python", hint="write python_version=(3, 12)"
    )


def _platforms(platform: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (platform,) if isinstance(platform, str) else tuple(platform or ())


def _options(
    index_url: str | None, extra: Urls, pre: bool, extra_args: str | None, secrets: object
) -> dict[str, Any]:
    _refuse_secrets(secrets)
    urls = (extra,) if isinstance(extra, str) else tuple(extra or ())
    given = PipOptions(
        index_url=index_url or "", extra_index_urls=urls, pre=pre, extra_args=extra_args or ""
    )
    return msgspec.structs.asdict(given)


def _refuse_secrets(secret_mounts: object) -> None:
    if secret_mounts:
        raise NotSupportedError(
            "Image: secret_mounts are not supported yet",
            hint="leave it out: uv finds its credentials in the environment of this process",
        )


def _installs_itself(mode: str) -> bool:
    if mode not in _MODES:
        raise ConfigurationError(
            f"project_install_mode={mode!r}", hint=f"one of {', '.join(_MODES)}"
        )
    return _MODES[mode]


def _strings(method: str, values: tuple[object, ...]) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str):
            raise ConfigurationError(f"{method}({value!r}): each is a string of its own")
    return tuple(str(value) for value in values)
