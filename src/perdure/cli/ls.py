"""``perdure ls``: the runs of this home."""

import time
from itertools import islice
from typing import TYPE_CHECKING

import click

from perdure._core.model import Phase
from perdure.cli import exits, render, report

if TYPE_CHECKING:
    from perdure._views.model import RunSummary


_PHASES = [phase.value for phase in Phase if phase is not Phase.CACHED]  # that is for actions


@click.command()
@click.option("--phase", type=click.Choice(_PHASES), help="Only these.")
@click.option("--task", help="Only runs of this task, by full name.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most.")
@exits.json_option
def ls(phase: str | None, task: str | None, limit: int, as_json: bool) -> None:
    """List runs, newest first."""
    from perdure.client import link

    wanted = None if phase is None else Phase(phase)
    found = list(islice(link.listed(wanted, task), limit + 1))
    rows, more = found[:limit], len(found) > limit
    if as_json:
        exits.print_json([report.summary_dict(row) for row in rows])
        return
    if not rows:
        filtered = phase is not None or task is not None
        click.echo(f"no {'such ' if filtered else ''}runs in {link.config().home}", err=True)
        return
    table = render.grid("NAME", "PHASE", "TASK", "STARTED", ">TOOK", "", header=True)
    remark = table.columns[-1]  # gets what the others leave, and one line
    remark.no_wrap, remark.overflow, remark.ratio = True, "ellipsis", 1
    table.expand = True
    for row in rows:
        table.add_row(
            row.name,
            render.phase_text(row.phase),
            row.task,
            render.when(row.created),
            render.duration(_took(row)),
            _remark(row),
        )
    render.show(table)
    if more:
        click.echo(f"... more with --limit {limit * 5}", err=True)


def _took(row: "RunSummary") -> float | None:
    if row.ended is not None:
        return row.ended - row.created
    return None if row.phase is Phase.INTERRUPTED else time.time() - row.created


def _remark(row: "RunSummary") -> str:
    from perdure.client import link

    if row.phase is Phase.INTERRUPTED:
        return f"perdure resume {row.name}"
    if row.phase is Phase.WAITING and (moment := link.views().next_moment(row.key)) is not None:
        return f"until {render.when(moment)}"
    if row.error:
        return row.error.partition("\n")[0]
    if row.cached:
        return "cached"
    return f"rerun of {row.parent}" if row.parent else ""
