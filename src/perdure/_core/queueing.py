"""The queues that a controller uses, and when it asks about them."""

import math
from collections.abc import Callable, Iterator, Sequence

from perdure._core.effects import Effects
from perdure._core.model import Phase
from perdure._core.queues import Entrant, Queue
from perdure._core.records import RunEnd
from perdure._core.sharing import Ask, Grant
from perdure._core.state import Action, Attempt
from perdure._core.timers import Timers


class Queues:
    """The queues that this controller uses, and when it asks about them."""

    def __init__(self, timers: Timers, effects: Effects) -> None:
        self._timers = timers
        self._effects = effects
        self._known: dict[str, Queue] = {}
        self._wake_at = 0.0
        self.active: dict[str, Queue] = {}

    def __iter__(self) -> Iterator[Queue]:
        return iter(self._known.values())

    def used(self, name: str) -> int:
        """Return how many slots of the queue of that name are in use here."""
        return self._known[name].used if name in self._known else 0

    def get(self, name: str) -> Queue | None:
        """Return the queue of that name; None for the empty one."""
        if not name:
            return None
        queue = self._known.get(name)
        if queue is None:
            queue = self._known[name] = Queue(name)
        return queue

    def use(self, queue: Queue) -> None:
        """Something is about to wait for the queue."""
        self.active.setdefault(queue.name, queue)

    def admit(self, now: float, *, in_turn: bool) -> list[Action]:
        """Let runs begin that queues have room for; return their roots."""
        roots = []
        for queue in self.active.values():
            for run in queue.admit(now, in_turn=in_turn):
                if isinstance(run, Entrant):
                    self._effects.summoned.append(run)
                    continue
                self._effects.rows.append(RunEnd(run=run.key, phase=Phase.RUNNING, at=now))
                root = run.actions[run.root]
                if root.is_entrant:  # otherwise it is not ready yet
                    root.is_entrant = False
                    roots.append(root)
            self._effects.summoned += queue.call()
        return roots

    def ask(self, now: float, priority: Callable[[Queue], int]) -> None:
        """Ask the journal about those queues of which it is time.

        Args:
            now: The time.
            priority: Returns that of the first of what waits in a queue.
        """
        next_due = math.inf
        for queue in self.active.values():
            if queue.asked:
                continue
            due = queue.due
            if due <= now:
                self._effects.asks.append(queue.ask(now, priority(queue)))
            else:
                next_due = min(next_due, due)
        if next_due < (self._wake_at if self._wake_at > now else math.inf):
            self._wake_at = next_due
            self._timers.at(next_due, _nothing)  # whenever the time has changed, this is called

    def granted(self, grants: Sequence[Grant], now: float) -> list[Queue]:
        """The journal's answers; return the queues that it does not know."""
        unknown = []
        for grant in grants:
            queue = self._known[grant.queue]
            queue.granted(grant, now)
            if grant.limits is None:
                unknown.append(queue)
                self._effects.summoned += queue.asleep  # to hear of it
            if queue.is_over:
                self.active.pop(queue.name, None)
        return unknown

    def counts(self, attempt: Attempt) -> bool:
        """Whether it matters when the code of the attempt begins."""
        run, queue = attempt.action.run, attempt.action.task.lane.queue  # type: ignore[union-attr]
        return (queue is not None and attempt in queue.starting) or (
            run.queue is not None and run in run.queue.starting
        )

    def begun(self, attempt: Attempt, now: float) -> None:
        """The code of an attempt has begun; or it is gone, and nobody knows whether it had."""
        run, queue = attempt.action.run, attempt.action.task.lane.queue  # type: ignore[union-attr]
        if queue is not None:
            queue.begun(attempt, now)
        if run.queue is not None:
            run.queue.begun(run, now)

    def left(self, attempt: Attempt, now: float, *, unstarted: bool) -> None:
        """The attempt has left its worker: it has ended, was given back, or died with it."""
        queue = attempt.action.task.lane.queue  # type: ignore[union-attr]
        if not unstarted:
            self.begun(attempt, now)
        if queue is not None:
            (queue.unstart if unstarted else queue.give)(attempt)

    def unanswered(self, asks: Sequence[Ask], now: float) -> None:
        """The journal could not be asked."""
        for ask in asks:
            self._known[ask.queue].unanswered(ask, now)


def _nothing() -> None:
    """Only the time is of interest."""
