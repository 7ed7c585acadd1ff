"""Exit codes, and how errors are told: in words on stderr, or as JSON on stdout."""

import json
import os
import traceback
from typing import Any

import click

from perdure import errors

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
DIVERGED = 6
TIMEOUT = 124
INTERRUPTED = 130

_CODES: dict[type[BaseException], int] = {
    errors.RunNotFoundError: NOT_FOUND,
    errors.ActionNotFoundError: NOT_FOUND,
    errors.ConditionNotFoundError: NOT_FOUND,
    errors.ConditionAnsweredError: USAGE,
    errors.ArtifactNotFoundError: NOT_FOUND,
    errors.ArtifactConflictError: USAGE,
    errors.SecretNotFoundError: NOT_FOUND,
    errors.QueueNotFoundError: NOT_FOUND,
    errors.ConfigurationError: USAGE,
    errors.NotSupportedError: USAGE,
    errors.TypeCheckError: USAGE,
    errors.RunConflictError: USAGE,
    errors.ReplayDivergedError: DIVERGED,
    errors.TaskTimeoutError: TIMEOUT,
    errors.RunInterruptedError: INTERRUPTED,
}

JSON_WANTED = "perdure.json"
"""Key in the root context's ``meta``: the user asked for ``--json``."""


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error ends the command with."""
    return next((code for cls, code in _CODES.items() if isinstance(error, cls)), FAILED)


def failure_code(code: str) -> int:
    """Return the exit code for a run whose outcome is a failure with that stable code."""
    if code == errors.ReplayDivergedError.code:
        return DIVERGED
    return TIMEOUT if code == errors.TaskTimeoutError.code else FAILED


def tell(error: errors.PerdureError, ctx: click.Context) -> None:
    """Write an error for the reader the user chose: people or programs."""
    if ctx.find_root().meta.get(JSON_WANTED):
        click.echo(json.dumps(error.to_dict(), indent=2, default=str))
    elif os.environ.get("PERDURE_DEBUG") == "1":
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    else:
        click.echo(_in_words(error), err=True)


def _in_words(error: errors.PerdureError) -> str:
    where = [
        f"{name} {value}"
        for name, value in (("run", error.run), ("task", error.task), ("action", error.action))
        if value and value not in error.message
    ]
    lines = [click.style("error: ", fg="red", bold=True) + error.message]
    if where:
        lines.append(f"  where: {', '.join(where)}")
    if error.hint:
        lines.append(click.style("  hint:  ", fg="cyan") + error.hint)
    return "\n".join(lines)


def remember_json(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    """Note that errors, too, are to be told as JSON."""
    if value:
        ctx.find_root().meta[JSON_WANTED] = True
    return value


def json_option(command: Any) -> Any:
    """Add ``--json`` to a command."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=remember_json,
        help="Print one JSON document and nothing else.",
    )(command)


def print_json(value: object) -> None:
    """Print the one JSON document of a command."""
    click.echo(json_text(value))


def json_text(value: object) -> str:
    """Return what a command prints of a value with ``--json``."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
