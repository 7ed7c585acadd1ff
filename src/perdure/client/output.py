"""What actions wrote to stdout and stderr, line by line."""

import time
from collections.abc import Iterator
from typing import NamedTuple

from perdure._core.model import LogSpan, Phase
from perdure._logs import read_spans
from perdure.client import link
from perdure.config import log_path

_PACE = 0.2


class Line(NamedTuple):
    """A line of output, and the action (its number in the run, its task) that wrote it."""

    action: int
    task: str
    text: str


def lines(name: str, action: str | None = None, *, follow: bool = False) -> Iterator[Line]:
    """Yield the output of a run's actions, in the order in which they were first recorded.

    Args:
        name: Name of the run.
        action: Only this action: ``#12``, its id, or the beginning of its id.
        follow: Go on with what comes until the run ends.

    Raises:
        RunNotFoundError: There is no such run.
        ActionNotFoundError: The run has no such action.
    """
    row = link.get(name)
    only = None if action is None else link.action(row, action).summary
    seen: dict[int, int] = {}
    while True:
        phase = link.get(name).phase  # asked first: what was written before the end is still read
        for each in [only] if only is not None else link.views().tree(row.key):
            spans = link.views().log_spans(row.key, each.seq)
            for span in spans[seen.get(each.seq, 0) :]:
                for text in _read(span.worker, LogSpan(span.start, span.end)).splitlines():
                    yield Line(each.seq, each.task, text)
            seen[each.seq] = len(spans)
        if not follow or phase.final or phase is Phase.INTERRUPTED:
            return
        time.sleep(_PACE)


def _read(worker: int, span: LogSpan) -> str:
    try:
        data = read_spans(log_path(link.config().logs, worker), [span])
    except FileNotFoundError:
        return ""
    return data.decode("utf-8", "backslashreplace")
