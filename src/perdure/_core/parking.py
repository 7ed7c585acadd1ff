"""Parking: attempts that only wait, and for long, give their place back.

Theory of operation. A parent that waits for its calls keeps a process, or a coroutine in one. If
all it waits for waits itself, nothing is going to happen for it in a while: its worker is asked to
leave it (:class:`~perdure._core.orders.Park`). Only the worker knows whether the code waits for
nothing but its calls, so it may refuse; then it is asked again later, less and less often. An
attempt that was left is *parked*: nothing of it is anywhere but in the journal, and here its
action. With the first outcome of a call the action is queued again, and replayed from its top.

For people it is the same attempt all the time: its number, its retry budget and its time limits
are those of the attempt that was parked (``Action.resumes``).

What is worth it: an end that is known is farther away than ``after`` seconds, or nobody knows when
the wait ends and it has lasted that long (less long where very many wait). A parent of parked
parents is parked in its turn. When the root is, and everything below it waits for a moment in time
or somebody's answer, the run is *dormant*: the shell may forget it until then and take it up again
from the journal. So is one that has waited so long to be admitted by a queue, and is not among the
next; it keeps its place there (``queues.py``).
"""

import math

from perdure._core import failures
from perdure._core.effects import Effects
from perdure._core.lifecycle import OUTSIDE, PARENT_TOO_LONG, Lifecycle
from perdure._core.model import LogSpan, Phase
from perdure._core.orders import Park
from perdure._core.queues import Entrant
from perdure._core.records import RunEnd
from perdure._core.rows import row_of
from perdure._core.state import Action, Attempt, Run
from perdure._core.transitions import Stage

NEVER = math.inf
"""As ``after``: nothing is parked."""

MANY_CALLS = 10_000
"""A parent of more unfinished calls stays: a replay would make all of them again."""

FEW = 256
"""So many may wait for ``after`` seconds at once; what waits and is not parked takes memory."""

MOST_PATIENCE = 300.0
"""Seconds after which a worker that has refused is asked again, at the latest."""


class Wait:
    """A blocked attempt of which nothing moves.

    Attributes:
        since: When that was seen first.
        asked: Its worker was asked to leave it, and has not answered.
        seen: Outcomes that it had been given then; with more than that it has to go on.
        pause: Seconds it is left alone after a refusal.
        again: When its worker may be asked again.
    """

    __slots__ = ("again", "asked", "pause", "seen", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.asked = False
        self.seen = 0
        self.pause = self.again = 0.0


class Parking:
    """Decides who is parked, and wakes them.

    Args:
        lifecycle: Moves actions.
        effects: What the shell is asked.

    Attributes:
        after: Seconds of waiting from which on parking is worth a replay; ``NEVER``: it is not.
    """

    def __init__(self, lifecycle: Lifecycle, effects: Effects) -> None:
        self.lifecycle = lifecycle
        self.scheduler = lifecycle.scheduler
        self.effects = effects
        self.after = NEVER
        self._waits: dict[int, Wait] = {}
        self._patience = NEVER
        lifecycle.wake = self.wake

    # --- who waits for long -----------------------------------------------------------------------

    def look(self) -> None:
        """See who has waited long enough. To be called every now and then."""
        if self.after == NEVER:
            return
        waits, attempts = self._waits, self.scheduler.attempts
        self._patience = self._shared_by(len(waits))
        self._waits = {h: wait for h, wait in waits.items() if wait.asked and h in attempts}
        for worker in self.scheduler.staff.workers.values():
            if worker.blocked and worker.ready and not worker.stopping:
                for attempt in worker.attempts.values():
                    if attempt.blocked and not attempt.action.ending:
                        self._consider(attempt, waits.get(attempt.handle))
        for queue in self.scheduler.queues.active.values():
            entering = [*queue.awake()]
            patience = self._shared_by(len(entering))
            for run in entering:
                self._consider_entrant(run, patience)

    def _shared_by(self, crowd: int) -> float:
        """Return for how long each of so many may wait: those who are not parked are not many."""
        return self.after * min(1.0, FEW / max(1, crowd))

    def look_at_naps(self) -> None:
        """See whether durable sleeps that have just begun are long. Called with each batch."""
        naps, self.lifecycle.naps = self.lifecycle.naps, []
        for nap in naps:
            attempt = nap.waiter
            end = self._end_of(nap)
            if attempt is None or end is None or end - self.lifecycle.now <= self.after:
                continue
            if attempt.blocked and not (attempt.worker.stopping or attempt.action.ending):
                self._consider(attempt, self._waits.get(attempt.handle))

    def _consider(self, attempt: Attempt, wait: Wait | None) -> None:
        now = self.lifecycle.now
        end = self.end_of_wait(attempt)
        wait = wait or Wait(now)
        if wait.asked or end is None or attempt.resuming:
            return
        self._waits[attempt.handle] = wait
        is_long = end - now > self.after and (end < math.inf or now - wait.since >= self._patience)
        if is_long and now >= wait.again:
            self._ask(attempt, wait)

    def end_of_wait(self, attempt: Attempt) -> float | None:
        """Return when the first of its calls may end: inf if nobody knows, None if it may be now.

        That is None as soon as one of them is doing anything but to wait.
        """
        children = attempt.action.children or {}
        if len(children) > MANY_CALLS:
            return None
        first, awaited = math.inf, 0
        for child in children.values():
            if child.waiter is not attempt:
                continue
            if (end := self._end_of(child)) is None:
                return None
            first, awaited = min(first, end), awaited + 1
        return first if awaited and awaited == attempt.outstanding else None

    def _end_of(self, action: Action) -> float | None:
        """Likewise, of an action that something waits for."""
        stage = action.stage
        if stage is Stage.WAITING:
            if action.kind == "sleep":
                return action.wake_at
            return math.inf if action.missing or action.kind in OUTSIDE else None
        if stage is Stage.PARKED:
            return math.inf if action.wake_at is None else action.wake_at
        if stage is Stage.QUEUED:
            return math.inf if self.lifecycle.now - action.queued_at >= self.after else None
        return math.inf if stage is Stage.RETRYING else None

    def _ask(self, attempt: Attempt, wait: Wait) -> None:
        wait.asked, wait.seen = True, attempt.calls - attempt.outstanding
        attempt.worker.outbox.append(Park(attempt.handle))
        self.effects.told[attempt.worker.number] = attempt.worker

    # --- what its worker answers ------------------------------------------------------------------

    def stays(self, handle: int) -> None:
        """The worker keeps the attempt: it does more than to wait for its calls."""
        wait = self._waits.get(handle)
        if wait is not None:
            wait.asked = False
            wait.pause = min(MOST_PATIENCE, max(self.after, 2 * wait.pause))
            wait.again = self.lifecycle.now + wait.pause

    def left(self, number: int, handle: int, log: tuple[LogSpan, ...], *, whole: bool) -> None:
        """The worker has left the attempt; ``whole``: and the world with it."""
        wait = self._waits.pop(handle, None)
        worker = self.scheduler.staff.workers.get(number)
        if worker is None:
            return
        if whole:
            worker.killed = worker.stopping = True
            self.effects.kills.append(worker)
        attempt = worker.attempts.get(handle)
        if attempt is not None:
            self._park(attempt, wait, log)
        if whole:
            for other in reversed(list(worker.attempts.values())):  # they crossed its farewell
                self.lifecycle.attempt_returned(other)

    def _park(self, attempt: Attempt, wait: Wait | None, log: tuple[LogSpan, ...]) -> None:
        action, lifecycle = attempt.action, self.lifecycle
        end = self.end_of_wait(attempt)
        lifecycle.detach(attempt)
        action.log = log
        if action.ending:
            lifecycle.attempt_failed(action, lifecycle.reason(action, failures.cancelled("")))
            return
        action.charged -= 1
        action.resumes = True
        if wait is None or attempt.calls - attempt.outstanding != wait.seen:
            lifecycle.queue(action, front=True)  # what it has waited for crossed its farewell
            return
        action.move(Stage.PARKED)
        action.wake_at = None if end is None or end == math.inf else end
        action.run.dirty.pop(action.id, None)
        self.effects.rows.append(row_of(action, self.effects.rows))
        limit = action.task.spec.timeout.max_runtime  # type: ignore[union-attr]  # only tasks park
        if limit is not None and action.started is not None:
            # Time goes on for what is parked: whether it is must not make a difference.
            due = action.started + limit
            lifecycle.later(action, due, self._overdue, action, action.number, limit)
        if action.parent is None:
            self._root_parked(action)

    def _overdue(self, action: Action, number: int, limit: float) -> None:
        if action.stage is Stage.PARKED and action.number == number:
            self.lifecycle.cancel_children(action, PARENT_TOO_LONG)
            action.charged += 1
            self.lifecycle.attempt_failed(action, failures.timed_out("max_runtime", limit))

    # --- the end of the wait ----------------------------------------------------------------------

    def wake(self, action: Action) -> None:
        """One of its calls has its outcome: go on from there."""
        action.wake_at = None
        if action.parent is None:
            self._tell_phase(action.run, Phase.RUNNING)
        self.lifecycle.queue(action, front=True)

    # --- whole runs -------------------------------------------------------------------------------

    def _root_parked(self, root: Action) -> None:
        run = root.run
        self._tell_phase(run, Phase.WAITING)
        if is_dormant(run):
            self.effects.dormant.append(run)

    def _consider_entrant(self, run: Run, patience: float) -> None:
        root = run.actions[run.root]
        if root.stage is Stage.QUEUED and self.lifecycle.now - root.queued_at >= patience:
            if run.backlog.pop(root.id, None):  # its row is not written, or not what it is now
                self.effects.rows.append(row_of(root, self.effects.rows))
            if is_dormant(run):
                self.effects.dormant.append(run)

    def _tell_phase(self, run: Run, phase: Phase) -> None:
        self.effects.rows.append(RunEnd(run=run.key, phase=phase, at=self.lifecycle.now))


def is_dormant(run: Run) -> bool:
    """Whether nothing happens in the run before a moment that its rows tell.

    What the run has said, and what it claims in the cache, is in no row.
    """
    return (
        not run.closed
        and not run.admitted  # it would lose its slot
        and not run.remarks
        and not run.answers
        and all(
            action.cache is None
            and (action.stage is Stage.PARKED or _waits_outside(action) or _waits_to_enter(action))
            for action in run.actions.values()
        )
    )


def _waits_to_enter(root: Action) -> bool:
    """Whether its turn to be admitted is far, without a limit, and its row tells all there is."""
    tells_all = not (root.timers or root.resumes or root.retry_failed)
    place = root.run.entrant
    is_far = root.is_entrant and place is not None and place not in place.queue.head
    return is_far and root.seq > 0 and tells_all


def keep_place(run: Run) -> Entrant | None:
    """Return the place in a queue that the run is to keep while it is forgotten, if it has one."""
    entrant, run.entrant = run.entrant, None
    if entrant is not None:
        entrant.run = None
    return entrant


def _waits_outside(action: Action) -> bool:
    """Whether it has begun to wait for something outside, and is recorded to have."""
    begun = action.stage is Stage.WAITING and action.kind in OUTSIDE and action.seq > 0
    return begun and (action.wake_at is not None or action.started is not None)


def first_moment(run: Run) -> float:
    """Return when something happens in a dormant run by itself."""
    return min(map(_next_moment, run.actions.values()), default=math.inf)


def _next_moment(action: Action) -> float:
    if action.task is None:
        return math.inf if action.wake_at is None else action.wake_at
    timeout, moment = action.task.spec.timeout, math.inf
    if timeout.deadline is not None:
        moment = action.created + timeout.deadline
    if timeout.max_runtime is not None and action.started is not None:
        moment = min(moment, action.started + timeout.max_runtime)
    return moment


def awaited(action: Action) -> list[Action]:
    """Return the unfinished calls of a parked action, in order; any of them may wake it."""
    return list((action.children or {}).values())
