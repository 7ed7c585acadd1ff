"""Timers without a clock: the shell says what time it is, and asks when to come back."""

import heapq
from collections.abc import Callable, Iterable
from typing import Any

COMPACT_BEYOND = 64
"""Cancelled timers that may stay in the heap, whatever its size."""


class Timer:
    """A callback that is going to be called, unless it is cancelled."""

    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., None] | None = callback
        self.args = args


class Timers:
    """Callbacks ordered by due time.

    A cancelled timer lets go of its arguments at once, and half of the heap at most is made of
    them: time limits of work that is done must not keep it in memory.
    """

    __slots__ = ("_cancelled", "_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, due: float, callback: Callable[..., None], *args: Any) -> Timer:
        """Call ``callback(*args)`` once the time is ``due``."""
        self._count += 1
        timer = Timer(callback, args)
        heapq.heappush(self._heap, (due, self._count, timer))
        return timer

    def cancel(self, timers: Iterable[Timer]) -> None:
        """Forget these timers; those that have fired are forgotten already."""
        for timer in timers:
            if timer.callback is not None:
                timer.callback, timer.args = None, ()
                self._cancelled += 1
        if self._cancelled > COMPACT_BEYOND and self._cancelled > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_due(self) -> float | None:
        """Return when the earliest timer is due, or None."""
        self._skip_cancelled()
        return self._heap[0][0] if self._heap else None

    def fire(self, now: float) -> None:
        """Run everything that is due, in order."""
        self._skip_cancelled()
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, args = timer.callback, timer.args
            timer.callback, timer.args = None, ()
            assert callback is not None
            callback(*args)
            self._skip_cancelled()

    def _skip_cancelled(self) -> None:
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
