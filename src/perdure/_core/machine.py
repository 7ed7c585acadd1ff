"""The controller's mind: commands in, records and effects out.

Theory of operation. A run is a tree of actions. Workers report calls, steps and ends of attempts;
the journal reports what it had recorded and what it has committed; time passes. Each report is a
command (a method below). Commands change the state, collect rows and orders in ``effects``, and
never wait: what they need from outside (a recorded outcome, a commit, a worker) comes back as
another command.

Replay. An action whose row exists, or which has made calls in an attempt that is gone, may have
recorded children: its calls are first *recalled* from the journal. Recorded values are delivered
without running anything (P2). A recorded failure is raised again, unless the caller is itself being
retried: then the failed child is tried again too. A child that its parent had cancelled is held
back: the replayed parent is about to cancel it again, and running it could change the parent's way.
"""

from collections.abc import Sequence

from perdure._core import failures
from perdure._core.effects import Effects
from perdure._core.lifecycle import CANCELLED_BY_PARENT, WAITED_FOR, WITH_PARENT, Ended, Lifecycle
from perdure._core.model import Demand, Failure, Outcome, Phase, TaskSpec
from perdure._core.orders import Unknown
from perdure._core.records import ActionRow
from perdure._core.rows import row_of
from perdure._core.scheduling import Scheduler
from perdure._core.state import CALLED_LIMIT, Action, Attempt, Pool, Run, Task, Worker
from perdure._core.timers import Timers
from perdure._core.transitions import Stage

FLUSH_AGE = 0.2
"""Seconds an action runs before people can see it running."""

FLUSH_QUEUED_AGE = 1.0
FLUSH_LIMIT = 500
"""Rows per flush: showing a backlog must not cost what running it costs."""

MAX_CRASHED_STARTS = 3
MAX_KILLED_STARTS = 12
"""Workers of a pool that may die before their Hello, in a row, before its work fails: by
themselves, and by somebody's kill."""


class WorkerEnd:
    """Why a worker is gone, in the terms that matter here.

    Attributes:
        guilty: What it was running brought it down (a crash, an exit), not somebody's kill.
        failure: What to say of it.
    """

    __slots__ = ("failure", "guilty")

    def __init__(self, failure: Failure, *, guilty: bool) -> None:
        self.failure = failure
        self.guilty = guilty


class Machine:
    """The state of one controller and everything that may happen to it."""

    def __init__(self, capacity: Demand, *, first_worker: int = 1, grace: float = 0.5) -> None:
        self.effects = Effects()
        self.timers = Timers()
        self.scheduler = Scheduler(capacity, first_worker, self.timers, self.effects)
        self.lifecycle = Lifecycle(self.scheduler, self.timers, self.effects, grace)
        self.runs: dict[int, Run] = {}
        self._started_runs = 0

    @property
    def now(self) -> float:
        """Time of the command being handled."""
        return self.lifecycle.now

    def advance(self, now: float) -> None:
        """It is ``now``: due timers fire. To be called before each batch of commands."""
        self.lifecycle.now = max(now, self.lifecycle.now)
        self.timers.fire(self.lifecycle.now)

    def place(self) -> None:
        """Give ready work to workers. To be called after each batch of commands."""
        self.scheduler.place(self.now)

    # --- runs -------------------------------------------------------------------------------------

    def start_run(
        self, run: Run, spec: TaskSpec, action: bytes, inputs: bytes, blobs: tuple[bytes, ...] = ()
    ) -> None:
        """Drive a run: new, or known to the journal (then its root is recalled first)."""
        self._started_runs += 1
        self.runs[run.key] = run
        root = Action(
            id=action,
            run=run,
            parent=None,
            name=spec.name,
            kind="task",
            created=self.now,
            index=self._started_runs,
            task=self.scheduler.task(run, spec),
            inputs=inputs,
            blobs=blobs,
        )
        run.root = run.actions[action] = root
        if run.next_seq > 1 or run.recover:
            self._recall(root)
        else:
            self.lifecycle.admit(root)

    def abort(self, run: Run, action: bytes | None, why: str) -> bool:
        """Stop a run, or one of its actions; return False if it is not in flight."""
        target = run.root if action is None else run.actions.get(action)
        if target is None or target.stage in (Stage.COMMITTING, Stage.COMMITTED):
            return False
        self.lifecycle.cancel(target, why)
        return True

    def drop_run(self, key: int) -> None:
        """Stop driving the run: another controller has it, or this one shuts down."""
        run = self.runs.pop(key, None)
        if run is not None:
            self.lifecycle.close(run)

    # --- workers ----------------------------------------------------------------------------------

    def worker_ready(self, number: int) -> Worker | None:
        """A worker said Hello. Returns None if nobody asked for it, or it is no longer wanted."""
        worker = self.scheduler.workers.get(number)
        if worker is None or worker.ready or worker.killed:
            return None
        worker.ready = True
        worker.idle_since = self.now
        worker.pool.crashed_starts = worker.pool.killed_starts = 0
        return worker

    def worker_gone(self, number: int, end: WorkerEnd) -> None:
        """A worker's process is gone, with all it was doing."""
        worker = self.scheduler.workers.get(number)
        if worker is None:
            return
        culprit = None if worker.killed or not end.guilty else _culprit(worker)
        for attempt in reversed(list(worker.attempts.values())):
            guilty = attempt is culprit
            self.lifecycle.attempt_lost(attempt, end.failure, guilty=guilty)
        self.scheduler.remove(worker)
        if not worker.ready and not worker.killed:
            self._start_failed(worker.pool, end)

    def _start_failed(self, pool: Pool, end: WorkerEnd) -> None:
        if end.guilty:
            pool.crashed_starts += 1
        else:
            pool.killed_starts += 1
        if pool.crashed_starts >= MAX_CRASHED_STARTS or pool.killed_starts >= MAX_KILLED_STARTS:
            pool.crashed_starts = pool.killed_starts = 0
            self._give_up(pool, end.failure)

    def _give_up(self, pool: Pool, failure: Failure) -> None:
        """No worker of the pool can start: its waiting work fails with the reason."""
        for run in list(self.runs.values()):
            for action in list(run.actions.values()):
                if (
                    action.stage is Stage.QUEUED
                    and action.task is not None
                    and action.task.lane.pool is pool
                ):
                    self.lifecycle.fail(action, failure)

    # --- what attempts do -------------------------------------------------------------------------

    def task(self, attempt: int, spec: TaskSpec) -> Task | None:
        """Return the task of that spec in the attempt's run."""
        caller = self.scheduler.attempts.get(attempt)
        return self.scheduler.task(caller.action.run, spec) if caller else None

    def call(
        self,
        parent: int,
        spec: TaskSpec,
        action: bytes,
        inputs: bytes,
        needs: tuple[bytes, ...] = (),
        blobs: tuple[bytes, ...] = (),
        group: str = "",
    ) -> None:
        """An attempt calls a child."""
        caller = self.scheduler.attempts.get(parent)
        if caller is None:
            return
        caller.action.task.makes_calls = True  # type: ignore[union-attr]  # tasks make calls
        child = self._child(caller, action, spec.name, "task", inputs, blobs, group)
        if child is None:
            return
        child.task = self.scheduler.task(child.run, spec)
        child.needs = needs
        if caller.action.replay:
            self._recall(child)
        else:
            self.lifecycle.admit(child)

    def sleep(self, parent: int, action: bytes, seconds: float, group: str = "") -> None:
        """An attempt asks for a durable sleep."""
        caller = self.scheduler.attempts.get(parent)
        if caller is None:
            return
        nap = self._child(caller, action, "durable.sleep", "sleep", b"", (), group)
        if nap is None:
            return
        nap.wake_at = self.now + seconds
        if caller.action.replay:
            self._recall(nap)
        else:
            self.lifecycle.sleep(nap)

    def _child(
        self,
        caller: Attempt,
        action: bytes,
        name: str,
        kind: str,
        inputs: bytes,
        blobs: tuple[bytes, ...],
        group: str,
    ) -> Action | None:
        """Return the new child, or None if an earlier attempt's is in flight: then attach to it."""
        parent = caller.action
        run = parent.run
        caller.calls += 1
        if caller.replays and len(caller.called) < CALLED_LIMIT:
            caller.called.add(action)
        if kind in WAITED_FOR:
            caller.outstanding += 1
            if caller.outstanding == 1 and caller.worker.pool.is_async:
                self.scheduler.block(caller)
        existing = run.actions.get(action)
        if existing is not None:
            self._attach(existing, caller)
            return None
        child = Action(
            id=action,
            run=run,
            parent=parent,
            name=name,
            kind=kind,
            created=self.now,
            index=caller.calls,
            depth=parent.depth + 1,
            inputs=inputs,
            blobs=blobs,
            group=group,
            waiter=caller,
        )
        run.actions[action] = child
        if parent.children is None:
            parent.children = {}
        parent.children[action] = child
        return child

    def _attach(self, action: Action, caller: Attempt) -> None:
        """A new attempt of the parent calls an action that is in flight."""
        before, parent = action.parent, caller.action
        if before is not parent and before is not None:  # the parent itself was called again
            (before.children or {}).pop(action.id, None)
            parent.children = parent.children or {}
            parent.children[action.id] = action
            action.parent = parent
        action.waiter = caller
        action.index = caller.calls
        if action.stage is Stage.RECALLING:
            action.ending = ""
        failure = action.outcome.failure if action.outcome else None
        stopped = failure.message if failure else action.ending
        action.called_again = stopped == CANCELLED_BY_PARENT or stopped in WITH_PARENT

    def lookup(self, parent: int, action: bytes) -> None:
        """An attempt asks whether a step is recorded."""
        caller = self.scheduler.attempts.get(parent)
        if caller is None:
            return
        step = self._child(caller, action, "", "trace", b"", (), "")
        if step is not None:
            self._recall(step)

    def record(self, parent: int, row: ActionRow) -> None:
        """A step has run in the attempt's own process: commit it, then say so.

        ``row`` holds what the worker tells of the step; its place in the run is decided here.
        """
        caller = self.scheduler.attempts.get(parent)
        assert row.outcome is not None
        if caller is None or row.id in caller.action.run.actions:
            return
        step = self._child(caller, row.id, row.task, row.kind, row.inputs, row.blobs, row.group)
        assert step is not None
        step.stage = Stage.RECALLING
        step.created = row.created
        step.started = row.started
        step.worker = caller.worker.number
        self.lifecycle.finish(step, row.outcome, row.ended)

    def done(self, handle: int, ended: Ended) -> None:
        """An attempt ended."""
        attempt = self.scheduler.attempts.get(handle)
        if attempt is None:
            return
        task = attempt.action.task
        assert task is not None
        before = task.seconds
        task.seconds = ended.seconds if before is None else 0.8 * before + 0.2 * ended.seconds
        self.lifecycle.attempt_ended(attempt, ended)

    def blocked(self, handle: int) -> None:
        """A sync attempt waits for a child."""
        attempt = self.scheduler.attempts.get(handle)
        if attempt is not None:
            self.scheduler.block(attempt)

    def unblocked(self, handle: int) -> None:
        """A sync attempt goes on."""
        attempt = self.scheduler.attempts.get(handle)
        if attempt is not None:
            self.scheduler.unblock(attempt)

    def returned(self, number: int, handles: Sequence[int]) -> None:
        """A worker gives attempts back unstarted."""
        worker = self.scheduler.workers.get(number)
        if worker is not None:
            worker.revoking = False
        for handle in reversed(handles):
            attempt = self.scheduler.attempts.get(handle)
            if attempt is not None:
                self.lifecycle.attempt_returned(attempt)

    def cancel_call(self, parent: int, action: bytes) -> None:
        """An attempt cancels one of its children."""
        caller = self.scheduler.attempts.get(parent)
        child = caller.action.run.actions.get(action) if caller else None
        if child is not None and caller is not None and child.parent is caller.action:
            self.lifecycle.cancel(child, CANCELLED_BY_PARENT)

    def event(self, handle: int, kind: str, text: str) -> None:
        """An attempt has something to tell."""
        attempt = self.scheduler.attempts.get(handle)
        if attempt is not None:
            self.lifecycle.notice(attempt.action.run, attempt.action, kind, text)

    # --- what the journal says --------------------------------------------------------------------

    def _recall(self, action: Action) -> None:
        action.stage = Stage.RECALLING
        self.effects.lookups.setdefault(action.run, []).append(action.id)

    def looked_up(self, run: Run, ids: Sequence[bytes], rows: dict[bytes, ActionRow]) -> None:
        """The journal's answer: what is recorded of these actions (absent: nothing)."""
        if run.key not in self.runs:
            return
        for action_id in ids:
            row = rows.get(action_id)
            for dependent in run.awaited.pop(action_id, ()):
                self._answer_need(dependent, action_id, row)
            action = run.actions.get(action_id)
            if action is not None and action.stage is Stage.RECALLING:
                self._recalled(action, row)

    def _answer_need(self, dependent: Action, need: bytes, row: ActionRow | None) -> None:
        if row is not None and row.outcome is not None:
            self.lifecycle.feed(dependent, need, row.outcome)
        elif dependent.stage is Stage.WAITING:
            self.lifecycle.fail(dependent, failures.unknown_dependency(need))

    def _recalled(self, action: Action, row: ActionRow | None) -> None:
        run = action.run
        if action.ending:
            self._stop_recalled(action, row)
        elif row is not None and row.run != run.key:
            self._recovered(action, row)
        elif row is None:
            action.replay = bool(run.recover)
            self._go_on(action)
        elif row.outcome is None:
            self._resume_action(action, row)
        else:
            self._recall_outcome(action, row, row.outcome)

    def _stop_recalled(self, action: Action, row: ActionRow | None) -> None:
        """The action was stopped before the journal had answered; what is recorded stays."""
        if row is not None and row.run != action.run.key:
            row = None
        if row is not None and row.outcome is not None:
            self._deliver_recorded(action, row.outcome)
        elif action.kind not in WAITED_FOR:
            self._forget_step(action)
        else:
            if row is not None:
                self._adopt(action, row)
                action.charged, action.total_losses = row.attempts, row.losses
            self.lifecycle.fail(action, failures.cancelled(action.ending))

    def _go_on(self, action: Action) -> None:
        """Nothing is recorded that would end the action: do what was asked for."""
        if action.kind == "task":
            self.lifecycle.admit(action)
        elif action.kind == "sleep":
            self.lifecycle.sleep(action)
        else:
            self._forget_step(action)

    def _forget_step(self, step: Action) -> None:
        """The step is not recorded: its caller runs it, and comes back with Record."""
        waiter = step.waiter
        del step.run.actions[step.id]
        if step.parent is not None and step.parent.children is not None:
            step.parent.children.pop(step.id, None)
        if waiter is not None and waiter.handle in self.scheduler.attempts:
            waiter.calls -= 1
            waiter.worker.outbox.append(Unknown(waiter.handle, step.id))
            self.effects.told[waiter.worker.number] = waiter.worker

    def _resume_action(self, action: Action, row: ActionRow) -> None:
        """The action was in flight when its controller or its parent's worker died."""
        self._adopt(action, row)
        was_running = row.phase is Phase.RUNNING
        action.charged = max(0, row.attempts - was_running)
        action.total_losses = row.losses + was_running
        above = action.parent
        action.retry_failed = action.charged > 0 or (above is not None and above.retry_failed)
        self._go_on(action)

    def _adopt(self, action: Action, row: ActionRow) -> None:
        action.seq = row.seq
        action.created = row.created
        action.replay = True
        if row.wake_at is not None:
            action.wake_at = row.wake_at

    def _recall_outcome(self, action: Action, row: ActionRow, outcome: Outcome) -> None:
        caller = action.parent
        failure = outcome.failure
        if caller is None and failure is not None:
            self._retry_recorded(action, row)
        elif failure is None or caller is None:
            self._deliver_recorded(action, outcome)
        elif failure.message == CANCELLED_BY_PARENT:
            self._hold(action, row)
        elif caller.retry_failed or failure.message in WITH_PARENT:
            self._retry_recorded(action, row)
        else:
            self._deliver_recorded(action, outcome)

    def _deliver_recorded(self, action: Action, outcome: Outcome) -> None:
        action.move(Stage.COMMITTED)
        if action.parent is None:
            self.lifecycle.end_run(action.run, outcome)
        self.lifecycle.release(action, outcome)

    def _retry_recorded(self, action: Action, row: ActionRow) -> None:
        """A recorded failure is tried again, with a new budget."""
        self._adopt(action, row)
        action.total_losses = row.attempts + row.losses
        action.retry_failed = True
        self._go_on(action)

    def _hold(self, action: Action, row: ActionRow) -> None:
        """Wait for the parent to cancel the child again; if it does not, run it after all."""
        self._adopt(action, row)
        action.total_losses = row.attempts + row.losses
        action.move(Stage.WAITING)
        took = (row.ended or row.created) - row.created
        self.lifecycle.later(action, self.now + 2 * took + 1.0, self._unhold, action)

    def _unhold(self, action: Action) -> None:
        if action.stage is Stage.WAITING:
            self._go_on(action)

    def _recovered(self, action: Action, row: ActionRow) -> None:
        """The action succeeded in the run that this one reruns: take its outcome over."""
        outcome = row.outcome
        reusable = (
            outcome is not None
            and outcome.failure is None
            and action.parent is not None
            and row.task not in action.run.force
        )
        if not reusable:
            action.replay = True
            self._go_on(action)
            return
        assert outcome is not None
        if action.kind not in ("task", "sleep"):
            action.name, action.inputs = row.task, row.inputs
            action.kind = row.kind
        action.started = row.started
        self.lifecycle.finish(action, outcome)

    def audited(self, attempt: Attempt, missing: list[str]) -> None:
        """The journal's answer: recorded children that the replay did not call again."""
        action = attempt.action
        if action.stage is not Stage.AUDITING:
            return
        outcome = action.outcome
        assert outcome is not None
        if missing:
            self.lifecycle.notice(action.run, action, "warning", failures.divergence(missing))
            if action.run.strict:
                outcome = Outcome(failure=failures.diverged(missing))
        self.lifecycle.finish(action, outcome)

    def committed(self, actions: Sequence[Action]) -> None:
        """The journal has recorded these outcomes."""
        for action in actions:
            if action.stage is not Stage.COMMITTING:
                continue
            if action.called_again and action.outcome and action.outcome.failure:
                self._call_again(action)
            else:
                self.lifecycle.committed(action)

    def _call_again(self, action: Action) -> None:
        """The action was called anew while it was being stopped: now its end is on record."""
        action.move(Stage.COMMITTED)
        again = Action(
            id=action.id,
            run=action.run,
            parent=action.parent,
            name=action.name,
            kind=action.kind,
            created=action.created,
            index=action.index,
            depth=action.depth,
            task=action.task,
            inputs=action.inputs,
            blobs=action.blobs,
            group=action.group,
            waiter=action.waiter,
            needs=action.needs,
            dependents=action.dependents,
            wake_at=action.wake_at,
        )
        assert again.parent is not None
        assert again.parent.children is not None
        again.run.actions[again.id] = again.parent.children[again.id] = again
        self._recall(again)

    # --- people's view ----------------------------------------------------------------------------

    def flush(self) -> bool:
        """Write unfinished actions that are old enough to be looked at; tell if any are left."""
        left = False
        for run in self.runs.values():
            self._flush(run.dirty, FLUSH_AGE)
            self._flush(run.backlog, FLUSH_QUEUED_AGE)
            left = left or bool(run.dirty or run.backlog)
        return left

    def _flush(self, unwritten: dict[bytes, Action], min_age: float) -> None:
        """Write the oldest of these actions that have reached the age."""
        written: list[Action] = []
        for action in unwritten.values():
            age = self.now - (action.started or action.created)
            if age < min_age or len(written) >= FLUSH_LIMIT:
                break
            written.append(action)
        for action in written:
            del unwritten[action.id]
            self.effects.rows.append(row_of(action, self.effects.rows))


def _culprit(worker: Worker) -> Attempt | None:
    """Return the attempt that brought the worker down: the one that was executing.

    In an async worker a resumed attempt and the next one may take turns; the older is charged, and
    only it. If all were blocked, the oldest is.
    """
    attempts = list(worker.attempts.values())
    running = [a for a in attempts if not a.blocked]
    if running:
        return running[0]
    return attempts[0] if attempts else None
