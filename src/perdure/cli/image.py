"""``perdure image``: images as others understand them."""

from pathlib import Path

import click

from perdure.cli import exits, loading
from perdure.errors import ConfigurationError


@click.group()
def image() -> None:
    """Write images as others understand them."""


@image.command()
@click.argument("target", metavar="FILE[:ENV]")
@click.option(
    "--context", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
    help="Build context, which what is copied lies in; default: the working directory.",
)  # fmt: skip
@exits.json_option
def dockerfile(target: str, context: Path | None, as_json: bool) -> None:
    """Print the Dockerfile of the image of FILE, or of its task environment ENV."""
    from perdure._api.dockerfile import dockerfile_of

    found = loading.find_images(target)
    if len(found) != 1:
        known = ", ".join(name for names in found.values() for name in names)
        raise ConfigurationError(
            f"{target} has {len(found)} images"
            + (f", of the environments {known}" if found else ""),
            hint="name the environment: FILE:ENV" if found else "give an environment image=...",
        )
    ((wanted, names),) = found.items()
    text = dockerfile_of(wanted, context or Path.cwd())
    if as_json:
        exits.print_json({"environments": names, "dockerfile": text})
    else:
        click.echo(text, nl=False)
