"""The reports of a run's actions: pages of HTML in the home folder."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from perdure._core.records import RunRow
from perdure.client import link
from perdure.config import report_path
from perdure.errors import ActionNotFoundError

if TYPE_CHECKING:
    from perdure._views.model import ActionSummary


class Found(NamedTuple):
    """A report: the action it is of (its number in the run, its task), and the file."""

    action: int
    task: str
    path: Path


def of_action(row: RunRow, action: "ActionSummary") -> Path | None:
    """Return the report of an action, None if it has none."""
    path = report_path(link.config().home, row.name, bytes.fromhex(action.id))
    return path if path.exists() else None


def of_run(row: RunRow) -> list[Found]:
    """Return the reports of a run's actions, the root's first."""
    folder = report_path(link.config().home, row.name, b"").parent
    pages = {path.stem: path for path in folder.glob("*.html")} if folder.is_dir() else {}
    if not pages:
        return []
    actions = (each for each in link.views().tree(row.key) if each.id in pages)
    return [Found(each.seq, each.task, pages[each.id]) for each in actions]


def chosen(row: RunRow, action: str | None) -> list[Found]:
    """Return the report of an action, or all there are.

    Raises:
        ActionNotFoundError: There is no such action, or no report.
    """
    if action is None:
        found = of_run(row)
        none = f"no action of run {row.name!r} has a report"
    else:
        summary = link.action(row, action).summary
        path = of_action(row, summary)
        found = [] if path is None else [Found(summary.seq, summary.task, path)]
        none = f"action {summary.seq} of run {row.name!r}, {summary.task}, has no report"
    if not found:
        raise ActionNotFoundError(
            none,
            hint="a task has one as soon as it calls perdure.report.log(...) and then "
            "perdure.report.flush(), or ends",
        )
    return found
