"""Calls that attempts hold back until a queue has room for them, in their order.

The one that sequential code would make first comes first, as with work that is ready: parents that
have begun finish before new ones come in. Runs of a higher priority come before others. But every
``PERIOD``-th turn belongs to the one that has waited longest, so nobody is passed over for ever.
"""

import heapq
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from perdure._core.turns import PERIOD

if TYPE_CHECKING:
    from perdure._core.queues import Queue
    from perdure._core.state import Attempt, Run

FEW_STALE = 64
"""Entries of wishes that are gone, which may stay behind in any case."""


class Wish(msgspec.Struct, eq=False, gc=False):
    """A call that an attempt is going to make when it is told that there is room.

    Attributes:
        attempt: The attempt.
        id: Id of the call.
        task: Name of the task that is to be called.
        queue: Its queue.
        granted: It was told.
        number: Counts those that were lined up, or told, in the queue.
    """

    attempt: "Attempt"
    id: bytes
    task: str
    queue: "Queue"
    granted: bool = False
    number: int = 0

    @property
    def run(self) -> "Run":
        """The run that the call is made in."""
        return self.attempt.action.run


class Wishes:
    """What is wished for in one queue.

    Attributes:
        waiting: Those that are held back, by number, in the order in which they came.
        promised: Those that were granted and have not come yet, likewise.
    """

    __slots__ = ("_heap", "_number", "_turns", "promised", "waiting")

    def __init__(self) -> None:
        self.waiting: OrderedDict[int, Wish] = OrderedDict()
        self.promised: dict[int, Wish] = {}
        self._heap: list[tuple[int, tuple[int, ...], int]] = []
        self._number = self._turns = 0

    def line_up(self, wish: Wish) -> None:
        """Let a wish wait for its turn."""
        self._count(wish)
        self.waiting[wish.number] = wish
        place = *wish.attempt.action.order, wish.attempt.calls
        heapq.heappush(self._heap, (-wish.run.priority, place, wish.number))

    def _count(self, wish: Wish) -> None:
        self._number += 1
        wish.number = self._number

    def first(self) -> Wish:
        """Return the one whose turn it is; there are some."""
        if self._turns == PERIOD - 1:
            return next(iter(self.waiting.values()))
        while self._heap[0][2] not in self.waiting:
            heapq.heappop(self._heap)
        return self.waiting[self._heap[0][2]]

    def ahead(self, wish: Wish) -> int:
        """Return how many of those that wait have their turn before this one."""
        places = {number: place for *place, number in self._heap if number in self.waiting}
        own = places.get(wish.number, [])
        return sum((place, number) < (own, wish.number) for number, place in places.items())

    def grant(self, wish: Wish) -> None:
        """The call is let in."""
        if self.waiting.pop(wish.number, None) is None:
            self._count(wish)  # it did not have to wait
        else:
            self._turns = (self._turns + 1) % PERIOD
        wish.granted = True
        self.promised[wish.number] = wish

    def drop(self, wish: Wish) -> None:
        """The call has been made, or is not going to be."""
        if wish.granted:
            del self.promised[wish.number]
        elif self.waiting.pop(wish.number, None) is None:
            return
        if len(self._heap) > 2 * len(self.waiting) + FEW_STALE:
            self._heap = [entry for entry in self._heap if entry[2] in self.waiting]
            heapq.heapify(self._heap)
