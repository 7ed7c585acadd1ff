"""What controllers tell each other of queues, through the journal."""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from perdure._controller.presence import is_alive
from perdure._core.effects import Effects
from perdure._core.sharing import Ask, Grant, QueueLimits, Stake
from perdure.errors import QueueFullError, StorageError

if TYPE_CHECKING:
    from perdure._controller.controller import Controller


class Queueing:
    """Asks for this controller's part of queues.

    Args:
        controller: It.
    """

    def __init__(self, controller: "Controller") -> None:
        self._controller = controller
        self._queues = controller.machine.scheduler.queues
        self._journal = controller.journal
        self._scribe = controller.scribe
        self._owner = controller.presence.name

    def _is_alive(self, owner: str) -> bool:
        return is_alive(self._controller.config.controllers, owner)

    def share(self, effects: Effects) -> None:
        """Have the core's questions answered, if there are any."""
        if not effects.asks:
            return
        asks, effects.asks = effects.asks, []
        self._share(asks).add_done_callback(partial(self._shared, asks))

    def _share(self, asks: list[Ask]) -> "asyncio.Future[list[Grant]]":
        share = self._journal.queues.share
        return self._scribe.call(share, self._owner, asks, time.time(), self._is_alive)

    def _shared(self, asks: list[Ask], answer: "asyncio.Future[list[Grant]]") -> None:
        controller = self._controller
        bad = controller.is_bad(answer)
        with controller.batch():
            if bad:
                controller.machine.unanswered(asks)
            else:
                controller.machine.granted(answer.result())

    async def refuse_if_full(self, name: str, run: str) -> None:
        """See to it that one more run may wait for a queue.

        Raises:
            QueueFullError: As many wait as may.
        """
        if not name:
            return
        limits, stakes = await self._scribe.call(self._look, name)
        if limits is None or not limits.depth:
            return
        mine = self._queues.get(name)
        assert mine is not None
        others = [s for s in stakes if s.owner != self._owner and self._is_alive(s.owner)]
        waiting = mine.waiting + sum(stake.waiting for stake in others)
        used = mine.used + sum(stake.held for stake in others)
        if waiting >= limits.depth + max(0, limits.concurrency - used):
            raise QueueFullError(
                f"{waiting} wait in queue {name!r} already, and its depth is {limits.depth}",
                hint=f"submit it later, or let more wait: perdure queue set {name} --depth "
                f"{2 * limits.depth}",
                run=run,
            )

    def _look(self, name: str) -> tuple[QueueLimits | None, list[Stake]]:
        queues = self._journal.queues
        return queues.known([name]).get(name), queues.stakes(name)

    async def leave(self) -> None:
        """Give back what this controller has: it is about to end."""
        now = time.time()
        asks = [queue.last_words(now) for queue in self._queues.active.values()]
        if not asks:
            return
        try:
            await self._share(asks)
        except StorageError:
            return  # others see that it is gone
