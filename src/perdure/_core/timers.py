"""Timers without a clock: the shell says what time it is, and asks when to come back."""

import heapq
from collections.abc import Callable
from typing import Any


class Timers:
    """Callbacks ordered by due time. A callback that is no longer wanted finds that out itself."""

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, due: float, callback: Callable[..., None], *args: Any) -> None:
        """Call ``callback(*args)`` once the time is ``due``."""
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, callback, args))

    def next_due(self) -> float | None:
        """Return when the earliest timer is due, or None."""
        return self._heap[0][0] if self._heap else None

    def fire(self, now: float) -> None:
        """Run everything that is due, in order."""
        while self._heap and self._heap[0][0] <= now:
            _, _, callback, args = heapq.heappop(self._heap)
            callback(*args)
