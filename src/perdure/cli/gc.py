"""``perdure gc``: remove old runs, and what nobody needs any more."""

from typing import TYPE_CHECKING, Any

import click

from perdure.cli import exits, render
from perdure.client import link

if TYPE_CHECKING:
    from perdure._housekeeping.collector import Amount, Collected

_SHOWN = 20


@click.command()
@click.option(
    "--older-than", default="30d", show_default=True, metavar="AGE",
    help="Remove runs that ended, or were interrupted, longer ago: 30d, 12h, 45m.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@exits.json_option
def gc(older_than: str, dry_run: bool, as_json: bool) -> None:
    """Remove old runs, their logs, checkpoints and reports, and blobs that nothing refers to.

    Environments of images go that were not used for as long.

    Safe while runs are going on. A run that is going on stays, and so does one that a later run
    takes results over from.
    """
    from perdure._housekeeping.collector import collect
    from perdure._housekeeping.durations import seconds

    found = collect(link.config(), seconds(older_than), dry_run=dry_run)
    if as_json:
        exits.print_json(_as_dict(found) | {"older_than": older_than, "dry_run": dry_run})
    else:
        _in_words(found, dry_run=dry_run)


def _as_dict(found: "Collected") -> dict[str, Any]:
    return {
        "runs": [
            {"name": each.name, "phase": each.phase.value, "ended": each.ended}
            for each in found.runs
        ],
        "needed": [each.name for each in found.needed],
        **{name: vars(amount) for name, amount in _amounts(found).items()},
        "fresh": vars(found.fresh),
        "elsewhere": found.elsewhere,
        "bytes": found.bytes,
    }


def _amounts(found: "Collected") -> "dict[str, Amount]":
    return {
        "blobs": found.blobs,
        "logs": found.logs,
        "checkpoints": found.checkpoints,
        "reports": found.reports,
        "environments": found.environments,
    }


def _in_words(found: "Collected", *, dry_run: bool) -> None:
    verb = "would be removed" if dry_run else "removed"
    table = render.grid("RUN", "PHASE", "ENDED", header=True)
    for each in found.runs[:_SHOWN]:
        table.add_row(each.name, render.phase_text(each.phase), render.when(each.ended))
    if found.runs:
        render.show(table)
    if len(found.runs) > _SHOWN:
        click.echo(f"... and {len(found.runs) - _SHOWN:,} more")
    parts = [f"{len(found.runs):,} runs"]
    parts += [f"{each.count:,} {name}" for name, each in _amounts(found).items() if each.count]
    click.echo(f"{verb}: {', '.join(parts)}; {render.size(found.bytes)}")
    if found.needed:
        names = ", ".join(each.name for each in found.needed[:_SHOWN])
        click.echo(f"kept, because later runs take results over from them: {names}", err=True)
    if found.elsewhere:
        click.echo(f"blobs in {found.elsewhere} stay: other homes may refer to them, too", err=True)
    if found.fresh.count:
        click.echo(
            f"{found.fresh.count:,} blobs ({render.size(found.fresh.bytes)}) that nothing refers "
            "to are too new to tell; they go another time",
            err=True,
        )
