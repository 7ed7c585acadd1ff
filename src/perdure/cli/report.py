"""What commands say about runs and actions: as dictionaries for ``--json``, as words for people."""

from typing import TYPE_CHECKING, Any

import click

from perdure import errors
from perdure._core.model import Phase
from perdure._core.records import RunRow
from perdure.cli import exits, render

if TYPE_CHECKING:
    from rich.console import RenderableType

    from perdure._core.model import Failure, Outcome
    from perdure._views.model import ActionSummary, RunSummary


def summary_dict(row: "RunSummary") -> dict[str, Any]:
    """Return a run of a list as JSON-able data."""
    rest = {"error": row.error or None, "actions": row.actions, "cached": row.cached}
    return _run_dict(row, row.task) | rest


def run_dict(row: RunRow) -> dict[str, Any]:
    """Return a run with inputs and outcome as JSON-able data."""
    return (
        _run_dict(row, row.spec.name)
        | {"inputs": json_value(row.inputs)}
        | outcome_dict(row.outcome)
    )


def _run_dict(row: "RunRow | RunSummary", task: str) -> dict[str, Any]:
    return {
        "name": row.name,
        "task": task,
        "phase": row.phase.value,
        "created": row.created,
        "ended": row.ended,
        "duration": None if row.ended is None else row.ended - row.created,
        "parent": row.parent or None,
    }


def action_dict(row: "ActionSummary") -> dict[str, Any]:
    """Return the summary of an action as JSON-able data."""
    return {
        "number": row.seq,
        "id": row.id,
        "task": row.task,
        "kind": row.kind,
        "phase": row.phase.value,
        "created": row.created,
        "started": row.started,
        "ended": row.ended,
        "duration": span(row),
        "attempts": row.attempts,
        "wake_at": row.wake_at,
        "losses": row.losses,
        "group": row.group or None,
        "error": row.error or None,
    }


def outcome_dict(outcome: "Outcome | None") -> dict[str, Any]:
    """Return an outcome as JSON-able data: ``result`` or ``error``."""
    if outcome is None:
        return {"result": None, "error": None}
    if outcome.failure is not None:
        return {"result": None, "error": failure_dict(outcome.failure)}
    return {"result": json_value(outcome.value or b""), "error": None}


def failure_dict(failure: "Failure") -> dict[str, Any]:
    """Return a failure as JSON-able data."""
    return {
        "type": failure.type,
        "message": failure.message,
        "code": failure.code,
        "retryable": failure.retryable,
        "traceback": failure.traceback,
    }


def json_value(data: bytes) -> Any:
    """Return a JSON-able picture of an encoded value."""
    from perdure import _serde

    return _serde.to_json(data) if data else None


def preview(data: bytes, limit: int = 400) -> str:
    """Return an encoded value for people."""
    from perdure import _serde

    return _serde.preview(data, limit) if data else ""


def span(row: "ActionSummary") -> float | None:
    """Return how long an action ran, or None if it has not started or not ended."""
    return None if row.ended is None else row.ended - (row.started or row.created)


def conclude(row: RunRow, *, as_json: bool) -> int:
    """Say how a run ended, and how to look closer; return the exit code."""
    if as_json:
        exits.print_json(run_dict(row))
    else:
        _conclude_in_words(row)
    if row.phase is Phase.INTERRUPTED:
        return exits.INTERRUPTED
    if row.outcome is not None and row.outcome.failure is not None:
        return exits.failure_code(row.outcome.failure.code)
    return exits.OK if row.phase is Phase.SUCCEEDED else exits.FAILED


def _conclude_in_words(row: RunRow) -> None:
    failure = None if row.outcome is None else row.outcome.failure
    if failure is not None and failure.traceback:
        click.echo(failure.traceback.rstrip(), err=True)
    took = "" if row.ended is None else f" after {render.duration(row.ended - row.created)}"
    head = render.glyph(row.phase).append(f" {row.name}", style="bold")
    head.append(f" {row.phase.value}{took}", style="default")
    lines: list[RenderableType] = [head]
    # With its traceback an error is told already: here its headline is enough.
    lines += outcome_lines(row.outcome, brief=bool(failure and failure.traceback))
    if row.phase in (Phase.FAILED, Phase.ABORTED, Phase.INTERRUPTED):
        lines.append(labelled("go on", f"perdure resume {row.name}"))
    lines.append(labelled("look closer", f"perdure show {row.name}"))
    render.show(*lines)


def outcome_lines(
    outcome: "Outcome | None", limit: int = 400, *, brief: bool = False
) -> "list[RenderableType]":
    """Return the lines that tell a result or an error; none while there is no outcome."""
    if outcome is None:
        return []
    if outcome.failure is not None:
        told, hint = _advised(outcome.failure)
        lines = [labelled("error", told.partition("\n")[0] if brief else told)]
        return [*lines, labelled("hint", hint)] if hint else lines
    return [labelled("result", preview(outcome.value or b"", limit))]


def _advised(failure: "Failure") -> tuple[str, str]:
    """Return what happened, and what to do next or ""."""
    told = error_line(failure)
    if not failure.payload:
        return told, failure.hint or errors.by_code(failure.code).advice
    if failure.code == "user":
        return told, ""
    told, _, hint = told.partition(errors.HINT)  # a worker has written it into the message
    return told, hint


def error_line(failure: "Failure") -> str:
    """Return a failure as Python would end its traceback."""
    kind = failure.type.removeprefix("builtins.")
    return f"{kind}: {failure.message}" if failure.message else kind


def labelled(label: str, text: str) -> "RenderableType":
    """Return a line of a report: a dim label, then text, which stays beside it if it is long."""
    from rich.table import Table
    from rich.text import Text

    line = Table.grid()
    line.add_column(width=max(14, len(label) + 3), no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(Text(f"  {label}", "bright_black"), Text(text))
    return line
