"""``perdure diff``: what was different between two runs."""

import sys
from typing import TYPE_CHECKING

import click

from perdure.cli import exits, render, report

if TYPE_CHECKING:
    from rich.console import RenderableType

    from perdure.client.diffing import Pair, RunDiff
    from perdure.client.parting import Parting

_FIRST = {
    "result": "the same call, another outcome",
    "inputs": "called with other inputs",
    "missing": "only one of them made this call",
}
_LISTED = 20


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--code", is_flag=True, help="Show the changed files as a unified diff.")
@exits.json_option
def diff(a: str, b: str, code: bool, as_json: bool) -> None:
    """Compare two runs: inputs, code, packages, durations, results."""
    from perdure.client import diffing

    found = diffing.diff(a, b)
    if as_json:
        exits.print_json(diffing.as_json(found))
        return
    if code:
        sys.stdout.write(found.text)
        return
    render.show(*_words(found))


def _words(found: "RunDiff") -> "list[RenderableType]":
    from rich.text import Text

    one, other = found.names
    lines: list[RenderableType] = [Text(f"{one} -> {other}", style="bold")]
    if found.same:
        lines.append(report.labelled("same", "code, inputs, packages and results"))
    if found.tasks:
        lines.append(report.labelled("task", _arrow(found.tasks)))
    lines += [report.labelled(f"input {name}", _arrow(pair)) for name, pair in found.inputs.items()]
    lines += _listed("code", found.code)
    if found.commits:
        lines.append(report.labelled("commit", _arrow(found.commits)))
    if found.environment is None:
        lines.append(report.labelled("environment", "not known of both"))
    else:
        lines += _listed("environment", found.environment)
    if found.results:
        lines.append(report.labelled("result", _arrow(found.results)))
    if found.first is not None:
        lines += _first(found.first, found.actions, found.names)
    lines += [Text(""), _durations(found)]
    if found.code:
        lines.append(
            Text(f"\nthe changed files: perdure diff {one} {other} --code", "bright_black")
        )
    return lines


def _listed(label: str, found: list[str]) -> "list[RenderableType]":
    lines = [report.labelled(label, each) for each in found[:_LISTED]]
    if len(found) > _LISTED:
        lines.append(report.labelled("", f"... and {len(found) - _LISTED} more: --json"))
    return lines


def _first(first: "Parting", count: int, names: tuple[str, str]) -> "list[RenderableType]":
    more = f" (of {count})" if count > 1 else ""
    lines = [report.labelled("parted at", f"{first.task}: {_FIRST[first.kind]}{more}")]
    for name, number, inputs, outcome in zip(
        names, first.numbers, first.inputs, first.outcomes, strict=True
    ):
        if number is not None:
            lines.append(report.labelled("", f"{name} #{number} {inputs} -> {outcome}"))
    return lines


def _durations(found: "RunDiff") -> "RenderableType":
    one, other = found.names
    table = render.grid("task", f">{one}", f">{other}", ">actions", header=True)
    table.add_row("whole run", *(render.duration(each) for each in found.seconds), "")
    for each in found.durations:
        was, now = each.actions
        count = render.number(was) if was == now else _arrow((str(was), str(now)))
        table.add_row(each.task, *(render.duration(seconds) for seconds in each.seconds), count)
    return table


def _arrow(pair: "Pair") -> str:
    was, now = ("(none)" if each is None else each for each in pair)
    return f"{was} -> {now}"
