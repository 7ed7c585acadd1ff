"""Failures that nobody has looked at of runs that were waited for; told as the program ends.

``run.wait()`` raises nothing: a script that calls nothing else would end as if all had gone well.
"""

import atexit
import os
from collections.abc import Callable, Iterable

from perdure._core.model import Phase
from perdure._core.records import RunRow
from perdure._journal.rows import error_line

_lines: dict[str, str] = {}


def waited_for(row: RunRow) -> None:
    """Somebody has waited for the end of the run."""
    if row.phase is not Phase.FAILED or row.outcome is None or row.outcome.failure is None:
        return
    from perdure._embedded import tell_of_failures  # as the program ends it cannot be imported

    if not _lines:
        atexit.unregister(_tell)
        atexit.register(_tell, os.getpid(), tell_of_failures)
    _lines[row.name] = error_line(row.outcome.failure)


def looked_at(name: str) -> None:
    """Somebody has asked how the run has ended."""
    _lines.pop(name, None)


def _tell(pid: int, tell: Callable[[Iterable[tuple[str, str]]], None]) -> None:
    if pid == os.getpid():  # a forked child was not the one to wait
        tell(_lines.items())
