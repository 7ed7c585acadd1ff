"""Whose turn it is, so that nothing that waits is passed over for ever.

Work of a higher priority comes first, and older work before younger. But every ``PERIOD``-th turn
belongs to the run that has had none for longest, whatever its priority and its age: of n runs that
wait, each has a turn in at most ``PERIOD * n`` turns.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure._core.state import Lane, Run

PERIOD = 8


class Turns:
    """Counts turns among runs that want the same.

    Attributes:
        favoured: The run whose turn it is in any case, and its lane, until it has had it.
    """

    __slots__ = ("_left", "favoured")

    def __init__(self) -> None:
        self._left = PERIOD - 1
        self.favoured: tuple[Lane, Run] | None = None

    @property
    def is_open(self) -> bool:
        """Whether somebody is to be favoured, and nobody who waits still is."""
        if self._left:
            return False
        return self.favoured is None or self.favoured[1] not in self.favoured[0].queues

    def favour(self, waiting: "Iterable[tuple[Lane, Run]]") -> None:
        """Favour the one of the waiting runs that has had no turn for longest."""
        self.favoured = min(waiting, key=_last_turn, default=None)

    def took(self, lane: "Lane", run: "Run") -> bool:
        """A run has had a turn; return whether the order is another one now."""
        if self.favoured is not None and self.favoured == (lane, run):
            self._left, self.favoured = PERIOD - 1, None
            return True
        if self._left:
            self._left -= 1
            return not self._left
        return False


def _last_turn(waiting: "tuple[Lane, Run]") -> int:
    return waiting[1].last_turn
