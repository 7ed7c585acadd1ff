"""``perdure logs``: what the actions of a run wrote."""

import json

import click

from perdure.cli import exits


@click.command()
@click.argument("name")
@click.argument("action", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@click.option("--tail", "-n", type=click.IntRange(0), help="Only the last so many lines.")
@exits.json_option
def logs(name: str, action: str | None, follow: bool, tail: int | None, as_json: bool) -> None:
    """Print what the actions of a run wrote to stdout and stderr.

    ACTION is a number that perdure show prints, such as 12, or the beginning of an id. With --json,
    the document is a list of lines; with -f as well, there is one document per line.
    """
    from collections import deque

    from perdure.client.output import lines

    found = lines(name, action, follow=follow)
    if tail is not None and not follow:
        found = iter(deque(found, maxlen=tail))
    if as_json and not follow:
        exits.print_json([each._asdict() for each in found])
        return
    for each in found:
        if as_json:
            click.echo(json.dumps(each._asdict()))
        elif action is not None:
            click.echo(each.text)
        else:
            origin = f"{each.task} #{each.action}"
            click.echo(click.style(f"{origin} | ", fg="bright_black") + each.text)
