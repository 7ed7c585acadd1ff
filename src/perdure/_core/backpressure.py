"""Back-pressure: whoever calls a task whose queue has a depth waits while that many wait there.

A worker holds such a call back, with its arguments, and tells only that it is going to make it: a
*wish*. The wish is granted as soon as fewer than ``depth`` calls wait in the queue, in this
controller; then the call is made. Until then the caller waits as for any call of its own: it has
given back its cores and its slot. So what is in the queue gets through, and makes room.

Three kinds of calls are let through whether there is room or not, for somebody's progress may
depend on them, and they do not pile up:

* those that have been made before, by an earlier attempt of the caller: a replay has to make them;
* one at a time of a run that the queue has admitted, while its slot is not in use: the run's own
  work is what frees that slot, and others in line may wait for it;
* all of a queue without a depth. The worker is told so with the first one, and asks no more until
  it hears otherwise: from then on a call costs what it would cost without a queue.
"""

from collections.abc import Mapping, Sequence

from perdure._core.effects import Effects
from perdure._core.lifecycle import Lifecycle
from perdure._core.model import TaskSpec
from perdure._core.orders import Room, Shut
from perdure._core.queues import Queue
from perdure._core.records import ActionRow
from perdure._core.sharing import Grant
from perdure._core.state import Attempt, Run
from perdure._core.wishes import Wish


class Backpressure:
    """Grants wishes."""

    def __init__(self, lifecycle: Lifecycle, effects: Effects) -> None:
        self._scheduler = lifecycle.scheduler
        self._queues = lifecycle.scheduler.queues
        self._effects = effects
        self._asked: dict[tuple[Run, bytes], Wish] = {}
        self._scheduler.forsaken = self.forget

    # --- what attempts say ------------------------------------------------------------------------

    def wish(self, parent: int, spec: TaskSpec, action: bytes) -> None:
        """An attempt is going to call a task that has a queue."""
        attempt = self._scheduler.attempts.get(parent)
        queue = self._queues.get(spec.queue)
        if attempt is None or queue is None:
            return
        run, told = attempt.action.run, attempt.recollection
        attempt.action.task.makes_calls = True  # type: ignore[union-attr]  # tasks make calls
        wish = Wish(attempt, action, spec.name, queue)
        attempt.wishes = attempt.wishes or {}
        attempt.wishes[action] = wish
        attempt.outstanding += 1
        if attempt.outstanding == 1 and attempt.worker.pool.is_async:
            self._scheduler.block(attempt)
        if action in run.actions:
            self._grant(wish)
        elif attempt.action.replay and not (told is not None and told.rules_out(action)):
            self._asked[run, action] = wish
            self._effects.lookups.setdefault(run, []).append(action)
        else:
            self._line_up(wish)

    def made(self, attempt: Attempt, action: bytes) -> bool:
        """The attempt makes the call now, or never; return whether it had wished for it."""
        wish = attempt.wishes.pop(action, None) if attempt.wishes else None
        if wish is None:
            return False
        attempt.outstanding -= 1
        self._drop(wish)
        return True

    def withdrawn(self, attempt: Attempt, action: bytes) -> bool:
        """The attempt is not going to make the call; return whether it had wished for it."""
        if not self.made(attempt, action):
            return False
        if attempt.worker.pool.is_async and not attempt.outstanding:
            self._scheduler.unblock(attempt)
        return True

    def forget(self, attempt: Attempt) -> None:
        """The attempt has left its worker."""
        for action in [*(attempt.wishes or ())]:
            self.made(attempt, action)

    def _drop(self, wish: Wish) -> None:
        wish.queue.wishes.drop(wish)
        self._asked.pop((wish.run, wish.id), None)

    # --- what the journal says --------------------------------------------------------------------

    def looked_up(self, run: Run, ids: Sequence[bytes], rows: Mapping[bytes, ActionRow]) -> None:
        """The journal's answer: what is recorded of calls that replayed attempts wish for."""
        for action in ids if self._asked else ():
            wish = self._asked.pop((run, action), None)
            if wish is None:
                continue
            if action in rows:
                self._grant(wish)
            else:
                self._line_up(wish)

    def heard(self, grants: Sequence[Grant]) -> None:
        """The journal's answer: what holds for these queues."""
        for grant in grants:
            if grant.limits is None:
                self._let_all_in(grant.queue)
            elif grant.limits.depth or grant.queue not in self._queues.active:
                self._shut(grant.queue)

    def _let_all_in(self, name: str) -> None:
        """Nobody has declared the queue: the calls fail when they have been made."""
        queue = self._queues.get(name)
        for wish in [*queue.wishes.waiting.values()] if queue is not None else ():
            self._grant(wish)

    def _shut(self, name: str) -> None:
        """Have workers ask that need not have asked so far."""
        for worker in self._scheduler.staff.workers.values():
            if name in worker.open:
                worker.open.discard(name)
                worker.outbox.append(Shut(name))
                self._effects.told[worker.number] = worker

    # --- who is let in ----------------------------------------------------------------------------

    def let_in(self) -> None:
        """Let calls be made for which there is room now. To be called after placement."""
        for queue in [*self._queues.active.values()]:
            self._let_into(queue)

    def _line_up(self, wish: Wish) -> None:
        queue = wish.queue
        if queue.name not in self._queues.active:
            queue.forget_limits()  # they may be others by now
        self._queues.use(queue)
        queue.wishes.line_up(wish)
        self._let_into(queue)  # a caller that need not wait keeps its cores

    def _let_into(self, queue: Queue) -> None:
        while queue.wishes.waiting and (wish := self._admissible(queue)) is not None:
            self._grant(wish)

    def _admissible(self, queue: Queue) -> Wish | None:
        """Return the wish that may be granted next, if any may."""
        if queue.has_room:
            return queue.wishes.first()
        if not queue.lenders:
            return None
        waiting = queue.wishes.waiting.values()
        runs = {run for run in dict.fromkeys(w.run for w in waiting) if self._is_served(queue, run)}
        return next((wish for wish in waiting if wish.run in runs), None)

    def _is_served(self, queue: Queue, run: Run) -> bool:
        """Whether the run's own slot waits for work of the run."""
        return (
            queue.lends(run)
            and not any(wish.run is run for wish in queue.wishes.promised.values())
            and not self._scheduler.lanes.has_ready(queue, run)
        )

    def _grant(self, wish: Wish) -> None:
        attempt, queue = wish.attempt, wish.queue
        queue.wishes.grant(wish)
        resuming = self._scheduler.resuming
        if attempt.blocked and attempt.wakes(wish.id):
            resuming.wake(attempt, Room(attempt.handle, wish.id))
            return
        is_open = queue.limits is not None and not queue.limits.depth
        if is_open:
            attempt.worker.open.add(queue.name)
        resuming.tell(attempt, Room(attempt.handle, wish.id, queue.name if is_open else ""))
