"""``perdure build``: install what images ask for, before a run has to wait for it."""

from typing import TYPE_CHECKING, Any

import click

from perdure.cli import exits, loading, render
from perdure.client import link
from perdure.errors import EnvironmentBuildError

if TYPE_CHECKING:
    from perdure._api.image import Image
    from perdure._environments.store import Environments

_NOT_MADE = {"where": "not built", "built": False}


@click.command()
@click.argument("target", metavar="FILE[:ENV]")
@exits.json_option
@click.pass_context
def build(ctx: click.Context, target: str, as_json: bool) -> None:
    """Make the environments of the images in FILE, or of its task environment ENV.

    What is there already is left as it is; what this interpreter has already needs none. One that
    cannot be made does not keep the others from being made.
    """
    from perdure._environments.store import Environments

    environments = Environments(link.config().checked().environments)
    images = loading.find_images(target)
    done, failed = [], list[EnvironmentBuildError]()
    for image, names in images.items():
        try:
            made = _made(image, environments, quiet=as_json)
        except EnvironmentBuildError as error:
            made = _NOT_MADE | {"image": _label(image), "error": error.message}
            failed.append(EnvironmentBuildError(f"{', '.join(names)}: {error.message}"))
            failed[-1].hint = ""  # to call this command
        done.append({"environments": names} | made)
    if as_json:
        exits.print_json(done)
    elif not done:
        click.echo(f"nothing to build: no environment of {target} has an image")
    else:
        table = render.grid("ENVIRONMENT", "IMAGE", "WHERE", header=True)
        for each in done:
            table.add_row(", ".join(each["environments"]), each["image"], each["where"])
        render.show(table)
        for problem in failed:
            exits.tell(problem, ctx)
    if failed:
        ctx.exit(exits.FAILED)


def _label(image: "Image") -> str:
    from perdure._api import recipes

    return recipes.recipe_of(image).label


def _made(image: "Image", environments: "Environments", *, quiet: bool) -> dict[str, Any]:
    from perdure._api import recipes

    told: dict[str, Any] = {"image": _label(image), "unapplied": recipes.unapplied(image)}
    if told["unapplied"] and not quiet:
        click.echo(told["unapplied"], err=True)
    ref = recipes.refer(image)
    if not ref.recipe:
        return told | {"where": "this interpreter", "built": False}
    there = environments.have(
        recipes.known(ref), lambda text: None if quiet else click.echo(text, err=True)
    )
    there.close()
    return told | {"where": str(there.folder), "built": there.built} | there.manifest()
