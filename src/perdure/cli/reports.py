"""``perdure report``: where the reports of a run's actions are."""

import click

from perdure.cli import exits, render


@click.command()
@click.argument("name")
@click.argument("action", required=False)
@click.option(
    "--open", "browse", is_flag=True, help="Show it in a browser: the root's, or the first."
)
@exits.json_option
def report(name: str, action: str | None, browse: bool, as_json: bool) -> None:
    """Print where the report of an action is, or all reports of a run.

    ACTION is a number that perdure show prints, such as 12, or the beginning of an id.
    """
    from perdure.client import link, reports

    found = reports.chosen(link.get(name), action)
    if as_json:
        exits.print_json([each._asdict() for each in found])
    elif len(found) == 1:
        click.echo(found[0].path)
    else:
        table = render.grid(">ACTION", "TASK", "REPORT", header=True)
        for each in found:
            table.add_row(str(each.action), each.task, str(each.path))
        render.show(table)
    if browse:
        click.launch(found[0].path.as_uri())
