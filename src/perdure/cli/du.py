"""``perdure du``: what takes how much space."""

import click

from perdure.cli import exits, render
from perdure.client import link


@click.command()
@click.option("--top", type=click.IntRange(0), default=10, show_default=True, help="So many runs.")
@exits.json_option
def du(top: int, as_json: bool) -> None:
    """Show what takes how much space in the home, and which runs take most."""
    from dataclasses import asdict

    from perdure._housekeeping.usage import measure

    config = link.config()
    usage = measure(config, top)
    if as_json:
        exits.print_json({"home": config.home, "total": usage.total} | asdict(usage))
        return
    remarks = {
        "journal": f"{render.size(usage.free)} of it free, to be used again" if usage.free else "",
        "blobs": f"{usage.blobs.count:,}"
        + (
            f", {usage.unreferenced.count:,} that nothing refers to "
            f"({render.size(usage.unreferenced.bytes)}): perdure gc"
            if usage.unreferenced.count
            else ""
        ),
    }
    table = render.grid(">", "", "")
    for name, size in usage.parts.items():
        table.add_row(render.size(size), name, remarks.get(name, ""))
    table.add_row(render.size(usage.total), str(config.home), "")
    render.show(table)
    if usage.runs:
        click.echo()
        runs = render.grid(">BLOBS", ">CHECKPOINTS", ">REPORTS", "RUN", header=True)
        for each in usage.runs:
            sizes = (each.blobs, each.checkpoints, each.reports)
            runs.add_row(*(render.size(size) if size else "" for size in sizes), each.name)
        render.show(runs)
