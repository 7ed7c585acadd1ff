"""``perdure cache``: why a value was found in the cache or not; what is in it; emptying it."""

import re
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from perdure.cli import exits, render, report

if TYPE_CHECKING:
    from rich.console import RenderableType

    from perdure.client.explaining import Difference, Explanation

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


class Age(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.3
    """A span of time such as ``30d``, in seconds."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the span in seconds."""
        match = _AGE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no age; write 12h, 30d or 4w", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


@click.group()
def cache() -> None:
    """Explain, list and clear what cached tasks keep for all runs."""


@cache.command()
@click.argument("run")
@click.argument("action")
@exits.json_option
def explain(run: str, action: str, as_json: bool) -> None:
    """Tell whether the value of an ACTION was found in the cache, and if not, why.

    ACTION is a number that perdure show prints, such as 12, or the beginning of an id.
    """
    from perdure.client import explaining

    told = explaining.explain(run, action)
    if as_json:
        exits.print_json(msgspec.to_builtins(told))
    else:
        render.show(*_in_words(told))


@cache.command("ls")
@exits.json_option
def list_(as_json: bool) -> None:
    """List the tasks of which values are kept."""
    from perdure.client import link

    found = link.views().cache.tasks()
    if as_json:
        exits.print_json(msgspec.to_builtins(found))
        return
    if not found:
        click.echo(f"nothing is kept in {link.config().home}", err=True)
        return
    table = render.grid("TASK", ">VALUES", "OLDEST", "NEWEST", header=True)
    for each in found:
        table.add_row(
            each.task, render.number(each.values), render.when(each.oldest),
            render.when(each.newest),
        )  # fmt: skip
    render.show(table)


@cache.command()
@click.option("--task", help="Only the values of this task, by full name; * is a wildcard.")
@click.option("--older-than", type=Age(), metavar="AGE", help="Only older ones, such as 30d.")
@exits.json_option
def clear(task: str | None, older_than: float | None, as_json: bool) -> None:
    """Forget kept values. What runs have recorded stays."""
    from perdure.client.clearing import clear_cache

    cleared = clear_cache(task, None if older_than is None else time.time() - older_than)
    if as_json:
        exits.print_json({"cleared": cleared})
    else:
        click.echo(f"{render.number(cleared)} value{'' if cleared == 1 else 's'} forgotten")


def _in_words(told: "Explanation") -> "list[RenderableType]":
    from rich.text import Text

    head = Text.assemble((told.verdict, "bold"), f"  {told.task} #{told.number} of {told.run}")
    lines: list[RenderableType] = [head, report.labelled("because", told.reason)]
    if told.other_run:
        label = "made by" if told.verdict == "hit" else "nearest"
        made = f", {render.when(told.made)}" if told.made else ""
        lines.append(
            report.labelled(label, f"{told.other_run}, action {told.other_action[:8]}{made}")
        )
    for each in told.differences:
        lines += _difference(each)
    return lines


def _difference(each: "Difference") -> "list[RenderableType]":
    from rich.text import Text

    if each.part == "facts":
        return [report.labelled("code", "what its code and environment were is no longer known")]
    if each.part == "code":
        change = "changed" if each.before and each.now else "new" if each.now else "gone"
        return [
            report.labelled("code", f"{each.name}: {change}"),
            *(Text(f"    {line}", _COLOURS.get(line[:1], "")) for line in each.diff.splitlines()),
        ]
    text = f"{each.before or 'nothing'} -> {each.now or 'nothing'}"
    if each.part == "input" and each.before == each.now:
        text = f"{each.now}, with other content"
        if "<pickled" in each.now:
            text += " (equal values of a type that is pickled may look different)"
    named = each.name and each.part != "parameter"
    return [report.labelled(each.part, f"{each.name}: {text}" if named else text)]


_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
