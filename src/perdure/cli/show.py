"""``perdure show``: a run as a tree, or one action with all that is known about it."""

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
import msgspec

from perdure._core.model import Phase
from perdure._core.records import RunRow
from perdure.cli import asking, exits, progress, render, report, tree
from perdure.client import link, reports
from perdure.client.provenance import IMAGE, Installed, provenance
from perdure.client.signalling import open_conditions

if TYPE_CHECKING:
    from rich.console import RenderableType

    from perdure._views.model import ActionDetail, ActionSummary, EventView

_LOG_TAIL = 20
_NOTICES = 20
_COMMIT = 12


@click.command()
@click.argument("name")
@click.argument("action", required=False)
@click.option("--packages", is_flag=True, help="List the packages that were installed.")
@exits.json_option
def show(name: str, action: str | None, packages: bool, as_json: bool) -> None:
    """Show a run as a tree, or one action in full.

    ACTION is a number that the tree shows, such as 12, or the beginning of an id.
    """
    row = link.get(name)
    if action is None:
        data = _run_json(row) if as_json else _run_words(row, packages=packages)
    else:
        found = link.action(row, action)
        data = _action_json(row, found) if as_json else _action_words(row, found)
    if as_json:
        exits.print_json(data)
    else:
        render.show(*data)


def _run_json(row: RunRow) -> dict[str, Any]:
    root = tree.grow(row)
    counts = progress.counts(row.key)
    return report.run_dict(row) | {
        "counts": {
            task: {phase.value: count for phase, count in phases.items()}
            for task, phases in counts.items()
        },
        "tree": None if root is None else tree.as_dict(root),
        "code": _code_json(row),
        "conditions": [each._asdict() for each in open_conditions(row)],
        "events": [_event(each) for each in link.views().events(row.key)],
        "reports": [each._asdict() for each in reports.of_run(row)],
    }


def _code_json(row: RunRow) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(provenance(row))
    return found | {"files": [file.path for file in row.bundle.files]}


def _run_words(row: RunRow, *, packages: bool) -> "list[RenderableType]":
    from rich.text import Text

    head = render.glyph(row.phase).append(f" {row.name}", style="bold")
    head.append(f"  {row.phase.value}", style=render.LOOK[row.phase][2])
    if row.ended is not None:
        head.append(f" in {render.duration(row.ended - row.created)}", style="default")
    lines: list[RenderableType] = [
        head,
        report.labelled("task", row.spec.name),
        report.labelled("started", render.when(row.created)),
        report.labelled("inputs", report.preview(row.inputs)),
    ]
    lines += report.outcome_lines(row.outcome)
    lines += _code_words(row, packages=packages)
    if row.parent:
        lines.append(report.labelled("rerun of", row.parent))
    if found := reports.of_run(row):
        lines.append(report.labelled("report", _where(row, found)))
    if row.phase in (Phase.FAILED, Phase.ABORTED, Phase.INTERRUPTED):
        lines.append(report.labelled("go on", f"perdure resume {row.name}"))
    lines += _questions(row)
    told = (each for each in link.views().events(row.key) if each.kind != IMAGE)
    lines += _notices(islice(told, _NOTICES))
    root = tree.grow(row)
    if root is not None:
        lines += [Text(""), tree.drawn(root)]
    return lines


def _questions(row: RunRow) -> "list[RenderableType]":
    found, lines = open_conditions(row), []
    for each, command in zip(found, asking.commands(row.name, found), strict=False):
        lines.append(report.labelled("waits for", f"{each.name}: {each.prompt}"))
        if each.description:
            lines.append(report.labelled("", each.description))
        lines.append(report.labelled("answer", command))
    if len(found) > asking.MOST:
        more = f"{len(found) - asking.MOST} more: perdure show {row.name} --json"
        lines.append(report.labelled("and", more))
    return lines


def _code_words(row: RunRow, *, packages: bool) -> "list[RenderableType]":
    found, lines = provenance(row), []
    if found.commit:
        branch = f" on {found.branch}" if found.branch else ""
        lines.append(report.labelled("commit", found.commit[:_COMMIT] + branch))
        if found.uncommitted:
            lines.append(report.labelled("uncommitted", ", ".join(found.uncommitted)))
        if found.uncommitted is None:
            lines.append(report.labelled("uncommitted", "git cannot tell any more"))
    if found.packages is not None:
        installed = f"{found.python}, {len(found.packages)} packages"
        lines.append(report.labelled("environment", installed))
        if packages:
            each = (f"{name} {version}" for name, version in found.packages.items())
            lines.append(report.labelled("packages", "\n".join(each)))
    for image in found.images:
        lines += _image_words(image, packages=packages)
    return lines


def _image_words(image: Installed, *, packages: bool) -> "list[RenderableType]":
    what = f"{image.image}, for {', '.join(image.tasks)}"
    if not image.environment:
        return [report.labelled("image", f"{what}; not installed now")]
    what += f": Python {image.python}, {len(image.packages)} packages, in {image.environment}"
    lines = [report.labelled("image", what)]
    if packages:
        each = (f"{name} {version}" for name, version in image.packages.items())
        lines.append(report.labelled("packages", "\n".join(each)))
    return lines


def _where(row: RunRow, found: "list[reports.Found]") -> str:
    more = f", and {len(found) - 1} more: perdure report {row.name}" if len(found) > 1 else ""
    return f"{found[0].path}{more}"


def _action_json(row: RunRow, action: "ActionDetail") -> dict[str, Any]:
    return (
        report.action_dict(action.summary)
        | {"run": row.name, "inputs": report.json_value(action.inputs)}
        | {"origin": _origin(action)}
        | report.outcome_dict(action.outcome)
        | {
            "failed_attempts": [
                {
                    "number": each.number,
                    "started": each.started,
                    "ended": each.ended,
                    "error": report.failure_dict(each.failure),
                }
                for each in action.attempts
            ],
            "events": [_event(each) for each in action.events],
            "log": [line.text for line in _log(row, action)],
            "report": reports.of_action(row, action.summary),
        }
    )


def _action_words(row: RunRow, action: "ActionDetail") -> "list[RenderableType]":
    from rich.text import Text

    brief = action.summary
    head = render.glyph(brief.phase).append(f" {brief.task}", style="bold")
    head.append(f"  {brief.phase.value}", style=render.LOOK[brief.phase][2])
    if (took := report.span(action.summary)) is not None:
        head.append(f" in {render.duration(took)}", style="default")
    lines: list[RenderableType] = [
        head,
        report.labelled("id", brief.id),
        report.labelled("run", row.name),
        report.labelled("started", render.when(brief.started)),
        report.labelled("attempts", _attempts(brief)),
        report.labelled("inputs", report.preview(action.inputs, 2000)),
    ]
    lines += report.outcome_lines(action.outcome, limit=2000)
    if (origin := _origin(action)) is not None:
        lines.append(report.labelled("made by", f"{origin['run']}, action {origin['action']}"))
    if path := reports.of_action(row, brief):
        lines.append(report.labelled("report", str(path)))
    lines += [report.labelled(each.kind, each.text) for each in action.events]
    for each in action.attempts:
        took_text = render.duration(each.ended - each.started)
        lines += [
            Text(f"\nattempt {each.number}, {took_text}", style="yellow"),
            Text(each.failure.traceback.rstrip() or report.error_line(each.failure)),
        ]
    failure = None if action.outcome is None else action.outcome.failure
    if failure is not None and failure.traceback:
        lines += [Text("\ntraceback", style="red"), Text(failure.traceback.rstrip())]
    written = _log(row, action)
    if written:
        lines.append(Text("\nlog", style="bright_black"))
        lines += [Text(line.text) for line in written[-_LOG_TAIL:]]
    if len(written) > _LOG_TAIL:
        lines.append(Text(f"... all of it: perdure logs {row.name} {brief.seq}", "bright_black"))
    return lines


def _origin(action: "ActionDetail") -> dict[str, str] | None:
    """Return where the value was made, if it was taken from the cache."""
    origin = action.origin
    return None if origin is None else {"run": origin.run, "action": origin.action.hex()}


def _attempts(action: "ActionSummary") -> str:
    cut_off = f", {action.losses} of them not charged" if action.losses else ""
    return f"{action.attempts + action.losses}{cut_off}"


def _notices(events: "Iterable[EventView]") -> "list[RenderableType]":
    return [
        report.labelled(each.kind, f"#{each.seq}: {each.text}" if each.seq else each.text)
        for each in events
    ]


def _event(each: "EventView") -> dict[str, Any]:
    return {"at": each.at, "kind": each.kind, "text": each.text}


def _log(row: RunRow, action: "ActionDetail") -> list[Any]:
    from perdure.client.output import lines

    return list(lines(row.name, action.summary.id))
