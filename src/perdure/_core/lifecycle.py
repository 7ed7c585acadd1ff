"""The moves of an action from its call to its recorded outcome.

Everything that changes an action's stage is here; who asked for it (a worker's message, a timer,
the journal's answer, the user) is the business of ``machine.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from perdure._core import blame, failures
from perdure._core.allowances import larger, too_large
from perdure._core.effects import Effects
from perdure._core.keys import consult_of, entry_of
from perdure._core.model import Demand, Failure, LogSpan, Outcome, phase_of
from perdure._core.nesting import shortage_of
from perdure._core.orders import Deliver, Interrupt
from perdure._core.records import EventRow, RunEnd
from perdure._core.retry import delay, should_retry
from perdure._core.rows import attempt_row, is_unfinished, place_of, row_of
from perdure._core.scheduling import Scheduler
from perdure._core.state import Action, Attempt, Run
from perdure._core.timers import Timers
from perdure._core.transitions import Stage

RECENT = 4096
"""Outcomes kept after their delivery, for calls that crossed it on the way."""

RECENT_BYTES = 4096
"""Larger values are read back from the journal if such a call comes."""

MAX_LOSSES = 10
"""Attempts an action may lose in a row, without progress, to kills that are not its own fault."""

OUTSIDE = ("sleep", "condition")
"""Kinds of actions that nothing in here brings to an end: see ``outside.py``."""

WAITED_FOR = ("task", *OUTSIDE)
"""Kinds of actions an async attempt is blocked by; a step's commit is not worth a change of
places."""

MAX_DEPTH = 100
"""Levels of tasks calling tasks."""

CANCELLED_BY_PARENT = "cancelled by its parent"
"""Message of the failure of a child its parent has cancelled; a replay recognises it."""

PARENT_ENDED = "its parent has ended"
PARENT_FAILED = "its parent has failed"
PARENT_TOO_LONG = "its parent has run too long"
PARENT_TOO_LATE = "the deadline of its parent has passed"
WITH_PARENT = frozenset({PARENT_ENDED, PARENT_FAILED, PARENT_TOO_LONG, PARENT_TOO_LATE})
"""Messages of the failures of children stopped because the attempt that called them was over. No
parent has seen them: one that calls such a child again, in a later attempt, has it run again."""


@dataclass(slots=True)
class Ended:
    """How an attempt ended, as its worker tells it.

    Attributes:
        unclaimed: Recorded children it was told of and has not called.
        unfinished: Calls without an outcome; some may still have been held back.
    """

    outcome: Outcome
    seconds: float = 0.0
    started: float | None = None
    log: tuple[LogSpan, ...] = ()
    unclaimed: frozenset[bytes] = frozenset()
    unfinished: tuple[bytes, ...] = ()


class Lifecycle:
    """Moves actions; keeps the promises P1 (commit before observe) and P2 (once)."""

    def __init__(
        self, scheduler: Scheduler, timers: Timers, effects: Effects, grace: float
    ) -> None:
        self.scheduler = scheduler
        self.timers = timers
        self.effects = effects
        self.grace = grace
        self.now = 0.0
        self.naps: list[Action] = []  # that have begun in this batch
        self.wake: Callable[[Action], None] = lambda action: None
        scheduler.overrun = self._expire_attempt

    # --- towards an attempt -----------------------------------------------------------------------

    def admit(self, action: Action) -> None:
        """The action is new work, or known to be unfinished: get it ready to run."""
        if action.depth > MAX_DEPTH:
            self.fail(action, failures.too_deep(action.depth))
            return
        task = action.task
        assert task is not None
        if action.run.strict and task.spec.image.unapplied:
            self.fail(action, failures.not_applied(task.spec.image.unapplied))
            return
        if (
            not task.modest
            and action.cache is None
            and (shortage := shortage_of(action, self.scheduler))
        ):
            self.fail(action, failures.infeasible(shortage))
            return
        if action.stage is Stage.RECALLING:
            action.move(Stage.WAITING)
        timeout = task.spec.timeout
        if timeout.deadline is not None:
            due = action.created + timeout.deadline
            self.later(action, due, self._expire, action, "deadline", timeout.deadline)
        for need in action.needs:
            self._await_need(action, need)
            if action.stage is not Stage.WAITING:
                return
        if not action.missing:
            self._ready(action)

    def _ready(self, action: Action) -> None:
        """Its inputs are known."""
        if action.cache is None:
            self.queue(action)
        else:
            action.move(Stage.CONSULTING)
            self.consult(action)

    def consult(self, action: Action) -> None:
        """Have the journal asked whether its value is kept already."""
        self.effects.consults.append(consult_of(action, self.now))

    def enter(self, action: Action) -> None:
        """No value is kept: the action has to run."""
        if shortage := shortage_of(action, self.scheduler):
            self.fail(action, failures.infeasible(shortage))
        else:
            self.queue(action)

    def _await_need(self, action: Action, need: bytes) -> None:
        run = action.run
        producer = run.actions.get(need)
        if producer is not None:
            if producer.dependents is None:
                producer.dependents = []
            producer.dependents.append(action)
            action.missing += 1
        elif need in run.recent:
            self._feed(action, need, run.recent[need])
        else:
            action.missing += 1
            run.awaited.setdefault(need, []).append(action)
            self.effects.lookups.setdefault(run, []).append(need)

    def _feed(self, action: Action, need: bytes, outcome: Outcome) -> None:
        """One of the action's inputs has its outcome."""
        if outcome.failure is not None:
            self.fail(action, outcome.failure)
        else:
            assert outcome.value is not None
            if action.values is None:
                action.values = {}
            action.values[need] = outcome.value

    def feed(self, action: Action, need: bytes, outcome: Outcome) -> None:
        """An input the action was waiting for has its outcome."""
        if action.stage is not Stage.WAITING:
            return
        action.missing -= 1
        self._feed(action, need, outcome)
        if action.stage is Stage.WAITING and not action.missing:
            self._ready(action)

    def queue(self, action: Action, *, front: bool = False) -> None:
        """The action is ready."""
        action.move(Stage.QUEUED)
        action.queued_at = self.now
        limit = action.task.spec.timeout.max_queued_time  # type: ignore[union-attr]
        if limit is not None and not action.resumes:
            due = self.now + limit
            self.later(action, due, self._expire_queued, action, self.now, limit)
        action.run.backlog[action.id] = action
        self.scheduler.lanes.add(action, front=front)

    def later(
        self, action: Action, due: float, callback: Callable[..., None], *args: object
    ) -> None:
        """Do something to the action at a time, unless it has ended by then."""
        action.timers = action.timers or []
        action.timers.append(self.timers.at(due, callback, *args))

    def _forget_timers(self, action: Action) -> None:
        if action.timers:
            self.timers.cancel(action.timers)
            action.timers = None

    # --- the end of an attempt --------------------------------------------------------------------

    def attempt_ended(self, attempt: Attempt, ended: Ended) -> None:
        """The attempt has left its worker with a value or a failure."""
        action, outcome = attempt.action, ended.outcome
        self.detach(attempt)
        action.log = ended.log
        if ended.started is not None and not action.resumes:
            action.started = ended.started
        failure = outcome.failure
        if action.ending and failure is None:
            # It may have caught what the stop did to its children: its value is not to be trusted.
            failure = failures.cancelled(action.ending)
        if failure is not None:
            self.attempt_failed(action, self.reason(action, failure))
            return
        self.cancel_children(action, PARENT_ENDED)
        told = attempt.recollection
        if told is not None:
            told.unclaimed = ended.unclaimed
        if (
            attempt.replays
            and not action.retry_failed
            and not (told is not None and told.is_exhausted(attempt.called or frozenset()))
        ):
            action.outcome = outcome
            action.move(Stage.AUDITING)
            self.effects.audits.append(attempt)
        else:
            self.finish(action, outcome)

    def detach(self, attempt: Attempt) -> None:
        """Take the attempt from its worker; what it has called may be found by the next one."""
        action = attempt.action
        self.scheduler.detach(attempt, self.now)
        if attempt.calls:
            action.replay = action.again = True
            for child in (action.children or {}).values():
                child.waiter = None

    def reason(self, action: Action, failure: Failure) -> Failure:
        """Prefer our own reason to stop the attempt to the error the stop caused in it."""
        if not action.ending:
            return failure
        spec = action.task.spec.timeout  # type: ignore[union-attr]
        if action.ending == "deadline":
            return failures.timed_out("deadline", spec.deadline or 0.0, failure.traceback)
        if action.ending == "max_runtime":
            return failures.timed_out("max_runtime", spec.max_runtime or 0.0, failure.traceback)
        return failures.cancelled(action.ending)

    def attempt_failed(self, action: Action, failure: Failure) -> None:
        """Try the action again if its policy allows; otherwise the failure is its outcome."""
        policy = action.task.spec.retry  # type: ignore[union-attr]
        if not action.run.closed and (more := larger(action, failure)) is not None:
            self._ask_for_more(action, failure, more)
            return
        if action.run.closed or not should_retry(policy, failure, action.charged):
            self.cancel_children(action, PARENT_FAILED)
            self.finish(action, Outcome(failure=failure))
            return
        self.note_attempt(action, failure)
        action.retry_failed = True
        action.ending = ""
        action.losses = 0
        action.move(Stage.RETRYING)
        action.run.dirty[action.id] = action
        wait = delay(policy, action.charged, action.id)
        if wait:
            action.queued_at = self.now + wait
            self.later(action, action.queued_at, self._retry, action)
        else:
            self._retry(action)

    def _ask_for_more(self, action: Action, failure: Failure, demand: Demand) -> None:
        """Try the action again with a larger request, uncharged, unless no node has as much."""
        spec = msgspec.structs.replace(action.task.spec, demand=demand)  # type: ignore[union-attr]
        action.task = self.scheduler.task(action.run, spec)
        if shortage := shortage_of(action, self.scheduler):
            self.cancel_children(action, PARENT_FAILED)
            self.fail(action, too_large(failure, shortage))
            return
        action.charged -= 1
        action.total_losses += 1
        self.note_attempt(action, failure)
        text = f"attempt {action.number + 1} asks for {failures.size(demand.memory)} of memory"
        self.notice(action.run, action, "info", text)
        action.retry_failed = True
        action.ending = ""
        action.losses = 0
        self.queue(action, front=True)

    def _retry(self, action: Action) -> None:
        if action.stage is Stage.RETRYING:
            self.queue(action, front=True)

    def attempt_lost(self, attempt: Attempt, failure: Failure, *, among: int) -> None:
        """The attempt's worker died.

        Args:
            attempt: The attempt.
            failure: What to say if the action ends with it.
            among: It is one of so many that may have brought the worker down. 1: it has; 0: it is
                not, then the attempt is free.
        """
        action = attempt.action
        progressed = bool(attempt.calls and action.progress)
        self.detach(attempt)
        if action.ending:
            self.attempt_failed(action, self.reason(action, failure))
        elif among == 1:
            self.attempt_failed(action, failure)
        else:
            # Our own kills end somebody else's action, so they do not go on for ever.
            if not (attempt.worker.killed or (among and blame.narrow_down(attempt, among))):
                action.losses = 1 if progressed else action.losses + 1
            action.progress = False
            if action.losses > MAX_LOSSES:
                self.attempt_failed(action, failure)
                return
            action.charged -= 1
            action.total_losses += 1
            self.note_attempt(action, failure)
            self.queue(action, front=True)

    def attempt_returned(self, attempt: Attempt) -> None:
        """The worker gives the attempt back unstarted."""
        action = attempt.action
        self.scheduler.detach(attempt, self.now, unstarted=True)
        action.charged -= 1
        if not action.resumes:
            action.started = None
        if action.ending:
            self.fail(action, self.reason(action, failures.cancelled(action.ending)))
        else:
            self.queue(action, front=True)

    def note_attempt(self, action: Action, failure: Failure) -> None:
        """Keep the story of an attempt that did not end its action."""
        rows = self.effects.rows
        rows.append(attempt_row(action, failure, self.now, rows))
        action.resumes = False
        action.run.dirty[action.id] = action

    # --- outcomes ---------------------------------------------------------------------------------

    def fail(self, action: Action, failure: Failure) -> None:
        """End the action with a failure that is not an attempt's."""
        self.finish(action, Outcome(failure=failure))

    def finish(self, action: Action, outcome: Outcome, ended: float | None = None) -> None:
        """Decide the outcome. It is written now, and visible to nobody before the commit (P1)."""
        if action.stage is Stage.QUEUED:
            self.scheduler.lanes.left(action)
        run, rows = action.run, self.effects.rows
        action.move(Stage.COMMITTING)
        self._forget_timers(action)
        action.outcome = outcome
        action.ended = self.now if ended is None else ended
        run.dirty.pop(action.id, None)
        run.backlog.pop(action.id, None)
        rows.append(row_of(action, rows))
        if action.cache is not None and (kept := entry_of(action, action.cache, outcome)):
            rows.append(kept)
        self.effects.finished.append(action)
        if action.parent is None:
            self.end_run(action, outcome)

    def end_run(self, root: Action, outcome: Outcome) -> None:
        """The root has its outcome: so has the run."""
        run = root.run
        run.closed, run.outcome, run.ended = True, outcome, root.ended
        end = RunEnd(run=run.key, phase=phase_of(outcome), at=self.now, outcome=outcome)
        self.effects.rows.append(end)

    def committed(self, action: Action) -> None:
        """The outcome is recorded: let everyone see it who waits for it, and forget the action."""
        outcome = action.outcome
        assert outcome is not None
        action.move(Stage.COMMITTED)
        if action.parent is not None:
            action.parent.progress = True
        self.release(action, outcome)

    def release(self, action: Action, outcome: Outcome) -> None:
        """Show a recorded outcome and forget the action."""
        run, parent = action.run, action.parent
        run.actions.pop(action.id, None)
        if parent is not None and parent.children is not None:
            parent.children.pop(action.id, None)
            if parent.stage is Stage.PARKED:
                self.wake(parent)
        if outcome.value is None or len(outcome.value) <= RECENT_BYTES:
            recent = run.recent
            recent[action.id] = outcome
            if len(recent) > RECENT:
                recent.popitem(last=False)
        if action.waiter is not None:
            self.deliver(action.waiter, action, outcome)
        for dependent in action.dependents or ():
            self.feed(dependent, action.id, outcome)
        if parent is None:
            if run.queue is not None:
                run.queue.leave(run)
            self.effects.ended.append((run, outcome))

    def deliver(self, waiter: Attempt, action: Action, outcome: Outcome) -> None:
        """Tell an attempt the recorded outcome of its child or step."""
        if waiter.handle not in self.scheduler.attempts:
            return
        order, resuming = Deliver(waiter.handle, action.id, outcome), self.scheduler.resuming
        waited_for = action.kind in WAITED_FOR
        waiter.outstanding -= waited_for
        if (
            waiter.blocked
            and (waited_for or waiter.awaits == action.id)
            and waiter.wakes(action.id)
        ):
            resuming.wake(waiter, order)
        else:
            resuming.tell(waiter, order)

    # --- stopping ---------------------------------------------------------------------------------

    def cancel(self, action: Action, why: str) -> None:
        """Stop the action and everything below it (P8)."""
        if not is_unfinished(action):
            return
        self.cancel_children(action, why)
        if action.stage is Stage.RECALLING:
            action.ending = why  # what is recorded of it is not to be written over
        elif action.attempt is None:
            self.fail(action, failures.cancelled(why))
        else:
            self._stop_attempt(action.attempt, why)

    def cancel_children(self, action: Action, why: str) -> None:
        """Stop everything below the action."""
        for child in list((action.children or {}).values()):
            self.cancel(child, why)

    def _stop_attempt(self, attempt: Attempt, ending: str) -> None:
        """Ask the worker to stop the attempt, and see to it that it does."""
        action, worker = attempt.action, attempt.worker
        if action.ending:
            if action.ending == "max_runtime":
                action.ending = ending  # it is being stopped, and must not be attempted again
            return
        action.ending = ending
        timeout = ending in ("deadline", "max_runtime")
        worker.outbox.append(Interrupt(attempt.handle, "timeout" if timeout else "cancelled"))
        self.effects.told[worker.number] = worker
        self.timers.at(self.now + self.grace, self._kill_unless_ended, attempt)

    def _kill_unless_ended(self, attempt: Attempt) -> None:
        if attempt.handle in self.scheduler.attempts and not attempt.worker.killed:
            attempt.worker.killed = True
            attempt.worker.stopping = True
            self.effects.kills.append(attempt.worker)

    def _expire_attempt(self, attempt: Attempt) -> None:
        if attempt.handle in self.scheduler.attempts and not attempt.action.ending:
            self.cancel_children(attempt.action, PARENT_TOO_LONG)
            self._stop_attempt(attempt, "max_runtime")

    def _expire_queued(self, action: Action, since: float, limit: float) -> None:
        if action.stage is Stage.QUEUED and action.queued_at == since:
            self.fail(action, failures.timed_out("max_queued_time", limit))

    def _expire(self, action: Action, limit: str, seconds: float) -> None:
        if not is_unfinished(action):
            return
        self.cancel_children(action, PARENT_TOO_LATE)
        if action.attempt is None:
            self.fail(action, failures.timed_out(limit, seconds))
        else:
            self._stop_attempt(action.attempt, limit)

    def close(self, run: Run) -> None:
        """Forget a run that this controller no longer drives; its attempts are stopped."""
        run.closed = True
        for action in list(run.actions.values()):
            if action.stage is Stage.QUEUED:
                self.scheduler.lanes.left(action)
            attempt = action.attempt
            if attempt is not None:
                self.scheduler.detach(attempt, self.now)
                if not attempt.worker.killed:
                    attempt.worker.killed = attempt.worker.stopping = True
                    self.effects.kills.append(attempt.worker)
            self._forget_timers(action)
            action.stage = Stage.COMMITTED
            action.children = action.dependents = action.waiter = None
        if run.queue is not None:
            run.queue.leave(run)
        for known in (run.actions, run.dirty, run.backlog, run.awaited):
            known.clear()

    def notice(self, run: Run, action: Action | None, kind: str, text: str) -> None:
        """Keep a message for people with the run."""
        rows = self.effects.rows
        seq = place_of(action, rows) if action else 0
        rows.append(EventRow(run=run.key, seq=seq, at=self.now, kind=kind, text=text))
