"""Ctrl-C and SIGTERM as wishes that are granted where nothing is half done."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class Stop:
    """Notes the first signal, for :meth:`check`; the second one ends the process.

    As an exception it would strike anywhere, such as while a lock is taken or a library cleans up:
    then it may be lost, or turn into another one.

    Args:
        at_once: Ends the process, inside a signal handler.
    """

    def __init__(self, at_once: Callable[[], None]) -> None:
        self._at_once = at_once
        self._wanted = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if stopping is wanted."""
        if self._wanted:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._wanted:
            self._at_once()
        self._wanted = True
