"""``perdure signal``: the answer to a condition that a run waits for."""

import sys
from typing import TYPE_CHECKING, Any

import click

from perdure.cli import asking, exits
from perdure.cli.hints import reader

if TYPE_CHECKING:
    from perdure.client.signalling import OpenCondition


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("condition")
@click.argument("value", required=False)
@click.option("--fail", metavar="MESSAGE", help="Answer with an error instead.")
@exits.json_option
def signal(name: str, condition: str, value: str | None, fail: str | None, as_json: bool) -> None:
    """Answer a condition that the run NAME waits for.

    CONDITION is what the condition is called; if several are called so, the oldest is answered. The
    number of its action, such as 12, will do as well. VALUE is written as the parameters of
    perdure run are. Without it, a terminal is asked.
    """
    from perdure.client import link, signalling

    if (value is None) == (fail is None) and (fail is not None or as_json or not _asks()):
        raise click.UsageError("give a VALUE, or --fail MESSAGE")
    if fail is not None:
        told = signalling.fail(name, condition, fail)
        given: Any = {"error": fail}
    else:
        if value is None:
            value = _prompted(signalling.find(link.get(name), condition))
        text = value
        told, answer = signalling.answer(name, condition, lambda hint: _parsed(hint, text))
        given = {"value": answer}
    if as_json:
        exits.print_json({"name": name, "condition": told.name, "action": told.number} | given)
    else:
        how = "with an error" if fail is not None else f"with {value}"
        click.echo(f"answered {told.name} (#{told.number}) of {name} {how}")


def _asks() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _prompted(condition: "OpenCondition") -> str:
    for line in (condition.prompt, condition.description):
        if line:
            click.echo(line, err=True)
    return str(click.prompt(asking.placeholder(condition), prompt_suffix="? ", err=True))


def _parsed(hint: Any, text: str) -> object:
    try:
        return reader(hint).parse(text)
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint="VALUE") from None
