"""An image as a Dockerfile: the same packages, and what only containers have."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from perdure._api import layers
from perdure._api.image import Image
from perdure._environments.reading import text_of
from perdure._environments.recipe import Install, Source
from perdure._modules import VERSION
from perdure.errors import ConfigurationError

_FOLDER = "/root"


def dockerfile_of(image: Image, context: Path) -> str:
    """Return the text of a Dockerfile that makes a container image of it.

    Args:
        image: The image.
        context: The folder that it is built in; what is copied has to be inside.

    Raises:
        ConfigurationError: Something that is copied is not, or cannot be read.
    """
    if image.dockerfile is not None:
        return text_of(image.dockerfile)
    writer = _Writer(context.absolute())
    lines = [*_beginning(image)]
    for number, layer in enumerate(image.layers):
        lines += writer.lines(layer, f"/opt/image/{number}")
    return "".join(f"{line}\n" for line in lines)


def _beginning(image: Image) -> Iterator[str]:
    version = image.python_version or sys.version_info[:2]
    yield f"FROM {image.base_image or 'python:{}.{}-slim-bookworm'.format(*version)}"
    if image.base_image is not None and not image.layers:
        return
    yield f"WORKDIR {_FOLDER}"
    yield f"ENV PYTHONPATH={_FOLDER} UV_SYSTEM_PYTHON=1"
    yield "RUN pip install --no-cache-dir uv"
    yield f"RUN uv pip install perdure=={VERSION}"


class _Writer:
    def __init__(self, context: Path) -> None:
        self._context = context

    def lines(self, layer: layers.Layer, folder: str) -> Iterator[str]:
        """Yield the lines of a layer; ``folder`` is its own in the container."""
        if isinstance(layer, layers.UvProject):
            yield from self._uv_project(layer, folder)
            return
        if isinstance(layer, layers.Installed):
            yield from self._install(layer.step(), folder)
            return
        match layer:
            case layers.EnvVars(variables):
                for name, value in variables:
                    yield f"ENV {name}={_quoted(value)}"
            case layers.AptPackages(packages):
                names = " ".join(map(shlex.quote, packages))
                yield (
                    f"RUN apt-get update && apt-get install -y --no-install-recommends {names} "
                    "&& rm -rf /var/lib/apt/lists/*"
                )
            case layers.Commands(commands):
                for command in commands:
                    yield f"RUN {command}"
            case layers.WorkDir(path):
                yield f"WORKDIR {path}"
            case layers.Copied(source, destination):
                yield f"COPY {self._inside(source)} {destination}"
            case layers.CodeBundle(_, destination):
                yield f"COPY . {destination}"
            case layers.DockerIgnore(file):
                yield f"# what is left out is in {self._inside(file)}"

    def _install(self, step: Install, folder: str) -> Iterator[str]:
        lines, limits = list(step.requirements), step.constraints
        for number, source in enumerate(step.sources):
            there = f"{folder}/{number}/{Path(source.path).name}"
            yield f"COPY {self._inside(Path(source.path))} {there}"
            lines = [line.replace(source.path, there) for line in lines]
        arguments = step.options.arguments()
        if limits:
            yield _written(limits, f"{folder}/constraints.txt")
            arguments = ["--constraints", f"{folder}/constraints.txt", *arguments]
        if any(line.startswith("-") or " --" in line for line in lines):
            yield _written(lines, f"{folder}/requirements.txt")
            arguments = ["--requirements", f"{folder}/requirements.txt", *arguments]
        else:
            arguments = [*lines, *arguments]
        yield f"RUN uv pip install {' '.join(map(shlex.quote, arguments))}"

    def _uv_project(self, layer: layers.UvProject, folder: str) -> Iterator[str]:
        files: Sequence[Source] = layer.step().sources
        for source in files:
            path = Path(source.path)
            yield f"COPY {self._inside(path)} {folder}{'' if path.is_dir() else '/' + path.name}"
        arguments = " ".join(map(shlex.quote, layer.options.arguments()))
        if layer.lock is None:
            yield f"RUN uv pip install --requirements {folder}/pyproject.toml {arguments}".rstrip()
        else:
            yield (
                f"RUN cd {folder} && uv export --frozen --no-emit-project {arguments} "
                "| uv pip install --requirements -"
            )
        if layer.itself:
            yield f"RUN uv pip install --no-deps {folder}"

    def _inside(self, path: Path) -> str:
        try:
            return shlex.quote(path.resolve().relative_to(self._context.resolve()).as_posix())
        except ValueError:
            raise ConfigurationError(
                f"{path} is not inside the build context {self._context}",
                hint="give a folder that holds it: --context FOLDER",
            ) from None


def _written(lines: Sequence[str], path: str) -> str:
    texts = " ".join(shlex.quote(line) for line in lines)
    return f"RUN mkdir -p {Path(path).parent} && printf '%s\\n' {texts} > {path}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'  # $NAME stays what it means to Docker, as in PATH=/opt/bin:$PATH
