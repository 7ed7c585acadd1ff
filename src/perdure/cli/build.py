"""``perdure build``: install what images ask for, before a run has to wait for it."""

from typing import TYPE_CHECKING, Any

import click

from perdure.cli import exits, loading, render
from perdure.client import link

if TYPE_CHECKING:
    from perdure._api.image import Image
    from perdure._environments.store import Environments


@click.command()
@click.argument("target", metavar="FILE[:ENV]")
@exits.json_option
def build(target: str, as_json: bool) -> None:
    """Make the environments of the images in FILE, or of its task environment ENV.

    What is there already is left as it is; what this interpreter has already needs none.
    """
    from perdure._environments.store import Environments

    environments = Environments(link.config().checked().environments)
    done = [
        {"environments": names} | _made(image, environments, quiet=as_json)
        for image, names in loading.find_images(target).items()
    ]
    if as_json:
        exits.print_json(done)
        return
    table = render.grid("ENVIRONMENT", "IMAGE", "WHERE", header=True)
    for each in done:
        table.add_row(", ".join(each["environments"]), each["image"], each["where"])
    render.show(table)


def _made(image: "Image", environments: "Environments", *, quiet: bool) -> dict[str, Any]:
    from perdure._api import recipes

    told: dict[str, Any] = {"image": recipes.recipe_of(image).label, "unapplied": ""}
    told["unapplied"] = recipes.unapplied(image)
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
