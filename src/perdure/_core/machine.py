"""The controller's mind: commands in, records and effects out.

Theory of operation. A run is a tree of actions. Workers report calls, steps and ends of attempts;
the journal reports what it had recorded and what it has committed; time passes. Each report is a
command (a method below). Commands change the state, collect rows and orders in ``effects``, and
never wait: what they need from outside (a recorded outcome, a commit, a worker) comes back as
another command.

An action that may have recorded children has its calls recalled from the journal first: see
``recall.py``.
"""

from collections.abc import Callable, Sequence
from functools import partial

from perdure._core import blame, failures
from perdure._core.allowances import is_innocent
from perdure._core.artifacts import Publisher, Request
from perdure._core.backpressure import Backpressure
from perdure._core.caching import Caching
from perdure._core.effects import Effects
from perdure._core.ends import WorkerEnd
from perdure._core.errands import Errand
from perdure._core.lifecycle import CANCELLED_BY_PARENT, WAITED_FOR, WITH_PARENT, Ended, Lifecycle
from perdure._core.model import Capacity, Failure, InputMark, LowMemory, TaskSpec
from perdure._core.outside import Outside
from perdure._core.parking import Parking
from perdure._core.queues import waits_in
from perdure._core.recall import Recall
from perdure._core.records import ActionRow, Page
from perdure._core.remarks import Remarks
from perdure._core.rows import place_of, show_unfinished
from perdure._core.scheduling import Scheduler
from perdure._core.sharing import Ask, Grant
from perdure._core.staffing import makes_calls
from perdure._core.standstill import Standstill
from perdure._core.state import (
    CALLED_LIMIT,
    Action,
    Attempt,
    Keyed,
    Run,
    Task,
)
from perdure._core.timers import Timers
from perdure._core.transitions import Stage
from perdure._core.workers import Pool, Worker

MAX_CRASHED_STARTS = 3
MAX_KILLED_STARTS = 12
"""Workers of a pool that may die before their Hello, in a row, before its work fails: by
themselves, and by somebody's kill."""


class Machine:
    """The state of one controller and everything that may happen to it."""

    def __init__(self, capacity: Capacity, *, first_worker: int = 1, grace: float = 0.5) -> None:
        self.effects = Effects()
        self.timers = Timers()
        self.scheduler = Scheduler(capacity, first_worker, self.timers, self.effects)
        self.lifecycle = Lifecycle(self.scheduler, self.timers, self.effects, grace)
        self.outside = Outside(self.lifecycle)
        self.recall = Recall(self.lifecycle, self.outside, self.effects)
        self.parking = Parking(self.lifecycle, self.effects)
        self.caching = Caching(self.lifecycle, self.effects)
        self.backpressure = Backpressure(self.lifecycle, self.effects)
        self.runs: dict[int, Run] = {}
        self.standstill = Standstill(self.scheduler, self.lifecycle)
        self._started_runs = 0
        self.remarks = Remarks(self.lifecycle, self.effects)

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
        if self.lifecycle.naps:
            self.parking.look_at_naps()
        self.scheduler.place(self.now)
        if self.scheduler.queues.active:
            self.backpressure.let_in()
            self.scheduler.queues.ask(self.now, self.scheduler.lanes.priority_of)
        if self.scheduler.starved is not None:
            self.standstill.watch()

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
            index=run.entrant.index if run.entrant is not None else self._started_runs,
            task=self._task(run, spec),
            inputs=inputs,
            blobs=blobs,
            context=run.context,
        )
        if spec.cache is not None and run.cache != "disable" and not run.mixed:
            root.cache = Keyed()
        run.root, run.actions[action] = action, root
        if run.next_seq > 1 or run.recover:
            self.recall.ask(root)
        else:
            self.lifecycle.admit(root)

    def _task(self, run: Run, spec: TaskSpec) -> Task:
        if spec.image.recipe or spec.image.unapplied:
            self.remarks.of(run, spec)
        return self.scheduler.task(run, spec)

    def abort(self, run: Run, action: bytes | None, why: str) -> bool:
        """Stop a run, or one of its actions; return False if it is not in flight."""
        target = run.actions.get(run.root if action is None else action)
        if target is None or target.stage in (Stage.COMMITTING, Stage.COMMITTED):
            return False
        self.lifecycle.cancel(target, why)
        return True

    def drop_run(self, key: int) -> None:
        """Stop driving the run: another controller has it, or this one shuts down."""
        run = self.runs.pop(key, None)
        if run is not None:
            self.lifecycle.close(run)
            self.caching.dropped(run)

    # --- workers ----------------------------------------------------------------------------------

    def expected(self, number: int) -> Worker | None:
        """Return the worker of that number if it is waited for."""
        worker = self.scheduler.staff.workers.get(number)
        return None if worker is None or worker.ready or worker.killed else worker

    def worker_ready(self, number: int) -> Worker | None:
        """A worker has started. Returns None if nobody asked for it, or it is no longer wanted."""
        worker = self.expected(number)
        if worker is None:
            return None
        worker.ready = True
        worker.idle_since = self.now
        worker.pool.delay = ""
        worker.pool.crashed_starts = worker.pool.killed_starts = 0
        return worker

    def started_up(self, number: int, failure: Failure | None, seconds: float) -> None:
        """A worker has called its environment's start-up hook, which failed or not."""
        worker = self.expected(number)
        if worker is None:
            return
        worker.failure = failure  # then it ends by itself
        pool = worker.pool
        what = "was started up" if failure is None else "could not be started up"
        text = f"a worker of environment {pool.reuse.environment} {what} ({seconds:.1f} s)"
        for run in self.scheduler.lanes.waiting_for(pool):
            self.lifecycle.notice(run, None, "startup", text)
        if failure is None:
            self.worker_ready(number)

    def worn(self, number: int) -> None:
        """A worker has grown too large to be given more."""
        worker = self.scheduler.staff.workers.get(number)
        if worker is not None:
            self.scheduler.staff.wear_out(worker)

    def worker_gone(self, number: int, end: WorkerEnd) -> None:
        """A worker's process is gone, with all it was doing."""
        worker = self.scheduler.staff.workers.get(number)
        if worker is None:
            return
        if worker.end is not None:
            end = worker.end
            if not end.guilty:
                blame.thin_out(worker)
        elif worker.killed or is_innocent(worker, end.failure.memory):
            end = WorkerEnd(end.failure, guilty=False)
        suspects = blame.suspects(worker) if end.guilty else {}
        for attempt in reversed(list(worker.attempts.values())):
            among = len(suspects) if attempt.handle in suspects else 0
            self.lifecycle.attempt_lost(attempt, end.failure, among=among)
        self.scheduler.staff.remove(worker)
        if not worker.ready and not worker.killed:
            if worker.failure is not None:
                end = WorkerEnd(worker.failure, guilty=True)
            self._start_failed(worker.pool, end)

    def _start_failed(self, pool: Pool, end: WorkerEnd) -> None:
        if end.guilty:
            pool.crashed_starts += 1
        else:
            pool.killed_starts += 1
        spent = pool.crashed_starts >= MAX_CRASHED_STARTS or pool.killed_starts >= MAX_KILLED_STARTS
        if end.final or spent:
            pool.crashed_starts = pool.killed_starts = 0
            self._give_up(pool, end.failure)

    def delayed(self, workers: Sequence[int], text: str) -> None:
        """Something has to be done before these workers start: the runs that wait are told."""
        known = (self.scheduler.staff.workers.get(number) for number in workers)
        runs: dict[Run, None] = {}
        for pool in {id(w.pool): w.pool for w in known if w is not None}.values():
            pool.delay = text
            runs |= dict.fromkeys(self.scheduler.lanes.waiting_for(pool))
        for run in runs:
            self.lifecycle.notice(run, None, "environment", text)

    def _give_up(self, pool: Pool, failure: Failure) -> None:
        """No worker of the pool can start: its waiting work fails with the reason."""
        self._fail_queued(lambda task, action: task.lane.pool is pool, failure)

    def _fail_queued(self, whose: Callable[[Task, Action], bool], failure: Failure) -> None:
        for run in list(self.runs.values()):
            for action in list(run.actions.values()):
                if (
                    action.stage is Stage.QUEUED
                    and action.task is not None
                    and whose(action.task, action)
                ):
                    self.lifecycle.fail(action, failure)

    def low_memory(self, memory: LowMemory) -> None:
        """The node is about to run out of memory."""
        self.scheduler.strain.low(memory, self.now)

    # --- what attempts do -------------------------------------------------------------------------

    def call(
        self,
        parent: int,
        spec: TaskSpec,
        action: bytes,
        inputs: bytes,
        needs: tuple[bytes, ...] = (),
        blobs: tuple[bytes, ...] = (),
        group: str = "",
        context: bytes = b"",
        marks: dict[str, InputMark] | None = None,
    ) -> None:
        """An attempt calls a child; ``context`` b"" means its own, ``marks`` are for the cache."""
        caller = self.scheduler.attempts.get(parent)
        if caller is None:
            return
        if caller.wishes:
            self.backpressure.made(caller, action)
        child = self._child(caller, action, spec.name, "task", inputs, blobs, group)
        if child is None:
            return
        child.task = self._task(child.run, spec)
        child.needs = needs
        child.context = context or caller.action.context
        if spec.cache is not None and child.run.cache != "disable":
            child.cache = Keyed(marks)
        if caller.action.replay:
            self.recall.ask(child)
        else:
            self.lifecycle.admit(child)

    def sleep(self, parent: int, action: bytes, seconds: float, group: str = "") -> None:
        """An attempt asks for a durable sleep."""
        caller = self.scheduler.attempts.get(parent)
        if caller is None:
            return
        nap = self._child(caller, action, "durable.sleep", "sleep", b"", (), group)
        if nap is not None:
            self._begin(nap, seconds)

    def condition(self, parent: int, row: ActionRow, timeout: float | None) -> None:
        """An attempt asks somebody outside, as ``row`` says; ``outside`` takes the answer."""
        caller = self.scheduler.attempts.get(parent)
        if caller is None:
            return
        asked = self._child(caller, row.id, row.task, row.kind, row.inputs, row.blobs, row.group)
        if asked is not None:
            self._begin(asked, timeout)

    def _begin(self, action: Action, seconds: float | None) -> None:
        """Wait for something outside, at most so long, unless it has happened already."""
        if seconds is not None:
            action.wake_at = self.now + seconds
        if action.parent is not None and action.parent.replay:
            self.recall.ask(action)
        else:
            self.outside.begin(action)

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
        if caller.called is not None and len(caller.called) < CALLED_LIMIT:
            caller.called.add(action)
        if kind in WAITED_FOR:
            caller.outstanding += 1
            if not parent.task.makes_calls:  # type: ignore[union-attr]  # only tasks make calls
                makes_calls(parent.task, kind)  # type: ignore[arg-type]
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
            self.recall.ask(step)

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

    def errand(
        self, parent: int, step: bytes, name: str, inputs: bytes, group: str, request: Request
    ) -> None:
        """An attempt asks for a step that needs the journal; it comes back as :meth:`record`."""
        caller = self.scheduler.attempts.get(parent)
        if caller is None or step in caller.action.run.actions:
            return
        action, run = caller.action, caller.action.run
        seq = place_of(action, self.effects.rows)  # nothing is published by an unknown action
        publisher = Publisher(run.key, run.epoch, run.name, seq, action.id, step)
        self.effects.errands.append(
            Errand(parent, step, name, inputs, group, request, publisher, self.now)
        )

    def more(self, handle: int) -> None:
        """An attempt has taken in what it was told of recorded children, and can take more."""
        attempt = self.scheduler.attempts.get(handle)
        if attempt is not None:
            self.recall.more(attempt)

    def done(self, handle: int, ended: Ended) -> None:
        """An attempt ended."""
        attempt = self.scheduler.attempts.get(handle)
        if attempt is None:
            return
        task = attempt.action.task
        assert task is not None
        if attempt.called is not None:
            attempt.called.update(ended.unfinished)
        before = task.seconds
        task.seconds = ended.seconds if before is None else 0.8 * before + 0.2 * ended.seconds
        self.lifecycle.attempt_ended(attempt, ended)

    def blocked(self, handle: int, awaits: bytes = b"", seen: int | None = None) -> None:
        """A sync attempt waits for a child, or for any; it has seen so many outcomes so far."""
        attempt = self.scheduler.attempts.get(handle)
        if attempt is None:
            return
        if attempt.held or attempt.must_wait(awaits, seen):
            attempt.awaits = awaits
            self.scheduler.block(attempt)
        else:
            self.scheduler.unblock(attempt)  # what ends the wait is on its way

    def unblocked(self, handle: int) -> None:
        """A sync attempt goes on although what it waited for has no outcome."""
        attempt = self.scheduler.attempts.get(handle)
        if attempt is not None:
            self.scheduler.unblock(attempt)

    def returned(self, number: int, handles: Sequence[int]) -> None:
        """A worker gives attempts back unstarted."""
        worker = self.scheduler.staff.workers.get(number)
        if worker is not None:
            worker.revoking = False
        for handle in reversed(handles):
            attempt = self.scheduler.attempts.get(handle)
            if attempt is not None:
                self.lifecycle.attempt_returned(attempt)

    def cancel_call(self, parent: int, action: bytes) -> None:
        """An attempt cancels one of its children."""
        caller = self.scheduler.attempts.get(parent)
        if caller is not None and self.backpressure.withdrawn(caller, action):
            return
        child = caller.action.run.actions.get(action) if caller else None
        if child is not None and caller is not None and child.parent is caller.action:
            self.lifecycle.cancel(child, CANCELLED_BY_PARENT)

    def event(self, handle: int, kind: str, text: str) -> None:
        """An attempt has something to tell."""
        attempt = self.scheduler.attempts.get(handle)
        if attempt is not None:
            self.lifecycle.notice(attempt.action.run, attempt.action, kind, text)

    # --- what the journal says --------------------------------------------------------------------

    def looked_up(self, run: Run, ids: Sequence[bytes], rows: dict[bytes, ActionRow]) -> None:
        """The journal's answer: what is recorded of these actions (absent: nothing)."""
        if run.key in self.runs:
            self.recall.looked_up(run, ids, rows)
            self.backpressure.looked_up(run, ids, rows)

    def read(self, attempt: Attempt, page: Page) -> None:
        """The journal's answer: the next recorded children of the attempt's action."""
        self.recall.read(attempt, page)

    def audited(self, attempt: Attempt, missing: list[str]) -> None:
        """The journal's answer: recorded children that the replay did not call again."""
        self.recall.audited(attempt, missing)

    def committed(self, actions: Sequence[Action]) -> None:
        """The journal has recorded these outcomes."""
        self.recall.committed(actions)
        self.caching.committed(actions)

    def granted(self, grants: Sequence[Grant]) -> None:
        """The journal's answer: what may be used of queues."""
        for queue in self.scheduler.queues.granted(grants, self.now):
            self._fail_queued(partial(waits_in, queue), failures.unknown_queue(queue.name))
        self.backpressure.heard(grants)

    def unanswered(self, asks: Sequence[Ask]) -> None:
        """The journal could not be asked."""
        self.scheduler.queues.unanswered(asks, self.now)

    # --- people's view ----------------------------------------------------------------------------

    def flush(self) -> None:
        """Write unfinished actions that are old enough to be looked at."""
        for run in self.runs.values():
            show_unfinished(run, self.now, self.effects.rows)
