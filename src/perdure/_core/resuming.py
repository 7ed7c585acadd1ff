"""Parents that could go on, and get their cpu share first.

A parent that waits for its children has given its cpu share back, and its slot of a queue, and
others run on them. So the outcome that ends its wait is not shown to it before it has a slot, and
then its share is free again. Until then nothing new is placed: those that run end or wait in turn,
whatever the parent does, and so it gets its share in the end. Of several parents the oldest comes
first, in the order of sequential code.

A parent may also go on by itself: it has waited long enough, or has cancelled what it waited for.
That cannot be kept from running, but it is given the next share that is free.
"""

import heapq

from perdure._core import shares
from perdure._core.allowances import allow
from perdure._core.effects import Effects
from perdure._core.ledger import Ledger
from perdure._core.orders import Deliver, Room
from perdure._core.queueing import Queues
from perdure._core.state import Attempt, Lane


class Resumption:
    """Blocked attempts that wait for cpu."""

    def __init__(self, ledger: Ledger, queues: Queues, effects: Effects) -> None:
        self.ledger = ledger
        self.queues = queues
        self.effects = effects
        self._heap: list[tuple[tuple[int, ...], int, Attempt]] = []
        self._pushes = 0

    def __bool__(self) -> bool:
        """Whether anybody waits, as of the last :meth:`retry`."""
        return bool(self._heap)

    def wake(self, attempt: Attempt, order: Deliver | Room) -> None:
        """The outcome that a blocked attempt waits for is there, or room for its call."""
        if attempt.resuming:
            self._hold(attempt, order)
        elif self.ask(attempt):
            self.tell(attempt, order)
        else:
            attempt.held = [order]

    def _hold(self, attempt: Attempt, order: Deliver | Room) -> None:
        if attempt.held is None:  # it has gone on by itself
            self.tell(attempt, order)
        else:
            attempt.held.append(order)

    def tell(self, attempt: Attempt, order: Deliver | Room) -> None:
        """Show the attempt an outcome, or let it make a call."""
        worker = attempt.worker
        attempt.delivered += 1
        worker.outbox.append(order)
        self.effects.told[worker.number] = worker

    def ask(self, attempt: Attempt) -> bool:
        """Let a blocked attempt go on if its share is free; otherwise as soon as it is."""
        queue = _lane(attempt).queue
        if queue is not None and not attempt.slot and not queue.resume(attempt):
            self.queues.use(queue)
            attempt.resuming = True
            return False
        return self._ask_for_cpu(attempt)

    def _ask_for_cpu(self, attempt: Attempt) -> bool:
        more = shares.missing_cpu(attempt.worker, _lane(attempt))
        if not more or (not self._heap and more <= self.ledger.cpu):
            self._go_on(attempt)
            return True
        attempt.resuming = True
        self._pushes += 1
        heapq.heappush(self._heap, (attempt.action.order, self._pushes, attempt))
        return False

    def retry(self) -> None:
        """Let those go on whose share is free now, the oldest first."""
        for queue in self.queues.active.values():
            for attempt in queue.resumed():
                if self._ask_for_cpu(attempt):
                    self._let_follow(attempt)
        heap = self._heap
        while heap:
            attempt = heap[0][2]
            if _waits_for_cpu(attempt):
                if shares.missing_cpu(attempt.worker, _lane(attempt)) > self.ledger.cpu:
                    return
                self._go_on(attempt)
                self._let_follow(attempt)
            heapq.heappop(heap)

    def _let_follow(self, first: Attempt) -> None:
        """Those that wait on the same worker may need no more than it holds now."""
        for attempt in list(first.worker.attempts.values()):
            if _waits_for_cpu(attempt) and not shares.missing_cpu(attempt.worker, _lane(attempt)):
                self._go_on(attempt)

    def _go_on(self, attempt: Attempt) -> None:
        worker = attempt.worker
        shares.go_on(self.ledger, worker, _lane(attempt))
        worker.company = min(worker.company, attempt.action.company)
        attempt.blocked = attempt.resuming = False
        worker.blocked -= 1
        if worker.allowance or _lane(attempt).demand.memory:
            allow(worker, self.effects)
        held, attempt.held = attempt.held, None
        for order in held or ():
            self.tell(attempt, order)

    def go_on_alone(self, attempt: Attempt) -> None:
        """A blocked attempt goes on by itself: what it was to be told then, it may see now."""
        held, attempt.held = attempt.held, None
        for order in held or ():
            self.tell(attempt, order)
        if not attempt.resuming:
            self.ask(attempt)

    def wait_on(self, attempt: Attempt) -> None:
        """An attempt that was about to go on waits for something else."""
        held = attempt.held or ()
        attempt.held = [order for order in held if attempt.wakes(order.id)] or None
        attempt.resuming = attempt.held is not None
        for order in held:
            if not attempt.wakes(order.id):
                self.tell(attempt, order)
        queue = _lane(attempt).queue
        if queue is not None and not attempt.resuming:
            queue.give(attempt)

    @staticmethod
    def forget(attempt: Attempt) -> None:
        """The attempt has left its worker."""
        attempt.resuming, attempt.held = False, None


def _waits_for_cpu(attempt: Attempt) -> bool:
    return attempt.resuming and (_lane(attempt).queue is None or attempt.slot > 0)


def _lane(attempt: Attempt) -> Lane:
    return attempt.action.task.lane  # type: ignore[union-attr]  # only tasks have attempts
