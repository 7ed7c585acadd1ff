"""What commands say about runs and actions: as dictionaries for ``--json``, as words for people."""

from typing import TYPE_CHECKING, Any

import click

from perdure._core.model import Phase
from perdure.cli import exits, render

if TYPE_CHECKING:
    from rich.text import Text

    from perdure._core.model import Failure, Outcome
    from perdure._views.sqlite import ActionView, RunView


def run_dict(row: "RunView", *, full: bool = False) -> dict[str, Any]:
    """Return a run as JSON-able data.

    Args:
        row: The run.
        full: With inputs and outcome.
    """
    data: dict[str, Any] = {
        "name": row.name,
        "task": row.task,
        "phase": row.phase.value,
        "created": row.created,
        "ended": row.ended,
        "duration": None if row.ended is None else row.ended - row.created,
        "parent": row.parent or None,
    }
    if full:
        data["inputs"] = json_value(row.inputs)
        data |= outcome_dict(row.outcome)
    elif row.error:
        data["error"] = {"message": row.error}
    return data


def action_dict(row: "ActionView") -> dict[str, Any]:
    """Return the summary of an action as JSON-able data."""
    return {
        "id": row.id.hex(),
        "task": row.task,
        "kind": row.kind,
        "phase": row.phase.value,
        "created": row.created,
        "started": row.started,
        "ended": row.ended,
        "duration": span(row),
        "attempts": row.attempts,
        "losses": row.losses,
        "group": row.group or None,
        "error": row.error,
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


def span(row: "ActionView") -> float | None:
    """Return how long an action ran, or None if it has not started or not ended."""
    return None if row.ended is None else row.ended - (row.started or row.created)


def conclude(row: "RunView", *, as_json: bool) -> int:
    """Say how a run ended, and how to look closer; return the exit code."""
    if as_json:
        exits.print_json(run_dict(row, full=True))
    else:
        _conclude_in_words(row)
    if row.phase is Phase.INTERRUPTED:
        return exits.INTERRUPTED
    if row.outcome is not None and row.outcome.failure is not None:
        return exits.failure_code(row.outcome.failure.code)
    return exits.OK if row.phase is Phase.SUCCEEDED else exits.FAILED


def _conclude_in_words(row: "RunView") -> None:
    failure = None if row.outcome is None else row.outcome.failure
    if failure is not None and failure.traceback:
        click.echo(failure.traceback.rstrip(), err=True)
    took = "" if row.ended is None else f" after {render.duration(row.ended - row.created)}"
    head = render.glyph(row.phase).append(f" {row.name}", style="bold")
    head.append(f" {row.phase.value}{took}", style="default")
    lines = [head]
    lines += outcome_lines(row.outcome)
    if row.phase in (Phase.FAILED, Phase.ABORTED, Phase.INTERRUPTED):
        lines.append(labelled("go on", f"perdure resume {row.name}"))
    lines.append(labelled("look closer", f"perdure show {row.name}"))
    render.show(*lines)


def outcome_lines(outcome: "Outcome | None", limit: int = 400) -> "list[Text]":
    """Return the line that tells a result or an error; none while there is no outcome."""
    if outcome is None:
        return []
    if outcome.failure is not None:
        return [labelled("error", error_line(outcome.failure))]
    return [labelled("result", preview(outcome.value or b"", limit))]


def error_line(failure: "Failure") -> str:
    """Return a failure as Python would end its traceback."""
    kind = failure.type.removeprefix("builtins.")
    return f"{kind}: {failure.message}" if failure.message else kind


def labelled(label: str, text: str) -> "Text":
    """Return a line of a report: a dim label, then text."""
    from rich.text import Text

    return Text.assemble("  ", (f"{label:<12}", "bright_black"), text)
