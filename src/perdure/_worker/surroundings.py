"""What every attempt finds in its process, whatever the one before it did to it.

A worker executes attempts of strangers, one after the other. Working directory, descriptors 1 and 2
and the standard streams belong to the process, so what one attempt does to them would be found by
the next; they are put back after each. Environment variables and module globals are left alone:
they are how tasks keep caches and settings on purpose.
"""

import contextlib
import os
import sys
from typing import Any, NoReturn

from perdure._api import scope
from perdure._core.model import Failure
from perdure._serde import Encoded

_FOLDER: int = getattr(os, "O_PATH", os.O_RDONLY)  # a folder may be entered and not readable


class Surroundings:
    """The process as it is now, to be put back."""

    def __init__(self) -> None:
        self._forked = False
        self._folder = os.open(".", _FOLDER | os.O_CLOEXEC)
        self._descriptors = (os.dup(1), os.dup(2))
        self._streams: tuple[Any, Any] = (sys.stdout, sys.stderr)
        for stream in self._streams:
            stream.close = stream.flush  # they are not the task's to close
        # In a child that a task forks there is nobody to talk to the controller: as in any other
        # process, a task is just its function there.
        os.register_at_fork(after_in_child=self._forget)

    def restore(self) -> None:
        """Put back what user code may have changed."""
        os.fchdir(self._folder)
        for descriptor, original in enumerate(self._descriptors, start=1):
            os.dup2(original, descriptor)
        if sys.stdout is None or sys.stderr is None:
            sys.stdout, sys.stderr = self._streams

    def leave_if_forked(self, outcome: Encoded | Failure) -> None:
        """End a child that a task forked and that came back from it: the parent has the outcome."""
        if self._forked:
            _leave(outcome)

    def _forget(self) -> None:
        self._forked = True
        scope.forget()


def _leave(outcome: Encoded | Failure) -> NoReturn:
    failed = isinstance(outcome, Failure)
    with contextlib.suppress(Exception):
        if isinstance(outcome, Failure):
            print(outcome.traceback, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(failed)
