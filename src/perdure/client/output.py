"""What actions wrote to stdout and stderr, line by line."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from perdure._core.model import Phase
from perdure._logs import read_spans
from perdure.client import link
from perdure.config import log_path

if TYPE_CHECKING:
    from perdure._views.sqlite import LogView

_PACE = 0.2


class Line(NamedTuple):
    """A line of output, and the action that wrote it."""

    action: bytes
    task: str
    text: str


def lines(name: str, action: str | None = None, *, follow: bool = False) -> Iterator[Line]:
    """Yield the output of a run's actions, attempt by attempt, in the order in which they ended.

    Args:
        name: Name of the run.
        action: Only this action, by its id or the beginning of it.
        follow: Go on with what comes until the run ends.

    Raises:
        RunNotFoundError: There is no such run.
        ActionNotFoundError: The run has no such action.
    """
    row = link.get(name)
    seq = None if action is None else link.action(row, action).seq
    seen: set[tuple[int, int]] = set()
    while True:
        phase = link.get(name).phase  # asked first: what was written before the end is still read
        for view in link.views().log_spans(row.key, seq):
            if (view.seq, view.number) not in seen:
                seen.add((view.seq, view.number))
                yield from _lines_of(view)
        if not follow or phase.final or phase is Phase.INTERRUPTED:
            return
        time.sleep(_PACE)


def _lines_of(view: "LogView") -> Iterator[Line]:
    try:
        data = read_spans(log_path(link.config().logs, view.worker), view.spans)
    except FileNotFoundError:
        return
    for text in data.decode("utf-8", "backslashreplace").splitlines():
        yield Line(view.id, view.task, text)
