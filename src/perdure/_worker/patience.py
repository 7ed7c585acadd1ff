"""Looking for garbage less often while an attempt holds very many futures.

All of them are in use, but Python's collector walks them again and again as their number grows: a
third of the time of a large fan-out or of a long replay. What else the attempt leaves behind
meanwhile is found a little later.
"""

import gc

MANY_CALLS = 4096
"""Outstanding calls from which on an attempt is given patience."""

_OBJECTS = 50_000
"""New objects after which garbage is looked for meanwhile; usually it is 700."""


class Patience:
    """Whom the collector is patient with, in this process."""

    __slots__ = ("_attempts", "_usual")

    def __init__(self) -> None:
        self._attempts: set[int] = set()
        self._usual = gc.get_threshold()

    def begin(self, attempt: int) -> None:
        """The attempt (by handle) makes very many futures."""
        self._attempts.add(attempt)
        now = gc.get_threshold()
        if now[0] and now[0] != _OBJECTS:  # 0: user code has switched it off
            self._usual = now
            gc.set_threshold(_OBJECTS, *now[1:])

    def end(self, attempt: int) -> None:
        """It has gone on to something else, or ended."""
        self._attempts.discard(attempt)
        if not self._attempts and gc.get_threshold()[0] == _OBJECTS:
            gc.set_threshold(*self._usual)
