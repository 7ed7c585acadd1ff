"""``perdure why``: what a run or an action waits for, and who holds it up."""

import click

from perdure.cli import exits


@click.command()
@click.argument("name")
@click.argument("action", required=False)
@exits.json_option
def why(name: str, action: str | None, as_json: bool) -> None:
    """Tell what a run, or one of its actions, waits for; or how it has ended.

    ACTION is a number that perdure show prints, such as 12, or the beginning of an id.
    """
    from perdure.client import why as asking

    found = asking.why(name, action)
    if as_json:
        exits.print_json(asking.as_dict(found))
    else:
        click.echo(str(found))
