"""Recall: what the journal knows of an action, and what that means for it.

A recorded value is delivered without running anything (P2). A recorded failure is raised again,
unless the caller is itself being retried: then the failed child is tried again too. A child that
its parent had cancelled is held back: the replayed parent is about to cancel it again, and running
it could change the parent's way. An action with a row and no outcome was in flight when its
controller died: it goes on, and its own calls are recalled. One without a row has nothing recorded
below it either (see ``rows.py``): it is new work. Values that are recorded are mostly known to the
caller before it calls: see ``recollection.py``.
"""

from collections.abc import Sequence

from perdure._core import failures
from perdure._core.effects import Effects
from perdure._core.lifecycle import (
    CANCELLED_BY_PARENT,
    OUTSIDE,
    WAITED_FOR,
    WITH_PARENT,
    Lifecycle,
)
from perdure._core.model import Outcome, Phase
from perdure._core.orders import Tell, Unknown
from perdure._core.outside import Outside
from perdure._core.records import ActionRow, Page
from perdure._core.state import Action, Attempt, Keyed, Run
from perdure._core.transitions import Stage


class Recall:
    """Asks the journal about actions and acts on its answers."""

    def __init__(self, lifecycle: Lifecycle, outside: Outside, effects: Effects) -> None:
        self.lifecycle = lifecycle
        self.outside = outside
        self.effects = effects

    def ask(self, action: Action) -> None:
        """Have the journal asked what it knows of the action before anything else is done."""
        action.stage = Stage.RECALLING
        caller = action.waiter
        told = caller.recollection if caller is not None else None
        if told is not None and told.rules_out(action.id):
            self._go_on(action)
            return
        self.effects.lookups.setdefault(action.run, []).append(action.id)

    def more(self, attempt: Attempt) -> None:
        """The worker has taken in what it was told, and has use for the next page."""
        told = attempt.recollection
        if told is None or told.asked:
            return
        if told.read:
            told.complete = True
        else:
            told.asked = True
            self.effects.pages.append(attempt)

    def read(self, attempt: Attempt, page: Page) -> None:
        """The journal's answer: the next recorded children of the attempt's action."""
        if attempt.handle not in self.lifecycle.scheduler.attempts:
            return
        assert attempt.recollection is not None
        page = attempt.recollection.take(page)
        if page.values:
            attempt.action.task.makes_calls = True  # type: ignore[union-attr]  # only tasks do
        attempt.worker.outbox.append(Tell(attempt.handle, page))
        self.effects.told[attempt.worker.number] = attempt.worker

    def looked_up(self, run: Run, ids: Sequence[bytes], rows: dict[bytes, ActionRow]) -> None:
        """The journal's answer: what is recorded of these actions (absent: nothing)."""
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
        answer = run.answers.pop(action.id, None)
        if answer is not None and row is not None and row.outcome is None:
            self._adopt(action, row)
            action.started = row.started
            self.lifecycle.finish(action, answer)  # it came after the journal was read
        elif action.ending:
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
        elif action.kind in OUTSIDE:
            self.outside.begin(action)
        else:
            self._forget_step(action)

    def _forget_step(self, step: Action) -> None:
        """The step is not recorded: its caller runs it, and comes back with Record."""
        waiter = step.waiter
        del step.run.actions[step.id]
        if step.parent is not None and step.parent.children is not None:
            step.parent.children.pop(step.id, None)
        if waiter is not None and waiter.handle in self.lifecycle.scheduler.attempts:
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
        if row.phase is Phase.WAITING and row.started is not None:  # it was parked
            action.started, action.resumes = row.started, True
        self._go_on(action)

    def _adopt(self, action: Action, row: ActionRow) -> None:
        action.seq = row.seq
        action.created = row.created
        action.replay = True
        if row.wake_at is not None and action.task is None:
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
        elif failure.message in WITH_PARENT or (caller.retry_failed and not _is_own(caller, row)):
            self._retry_recorded(action, row)
        else:
            self._deliver_recorded(action, outcome)

    def _deliver_recorded(self, action: Action, outcome: Outcome) -> None:
        action.move(Stage.COMMITTED)
        if action.parent is None:
            self.lifecycle.end_run(action, outcome)
        self.lifecycle.release(action, outcome)

    def _retry_recorded(self, action: Action, row: ActionRow) -> None:
        """A recorded failure is tried again, with a new budget."""
        due = action.wake_at
        self._adopt(action, row)
        failure = row.outcome.failure if row.outcome else None
        if failure is not None and failure.message not in WITH_PARENT:
            action.wake_at = due
        action.total_losses = row.attempts + row.losses
        action.retry_failed = True
        self._go_on(action)

    def _hold(self, action: Action, row: ActionRow) -> None:
        """Wait for the parent to cancel the child again; if it does not, run it after all."""
        self._adopt(action, row)
        action.total_losses = row.attempts + row.losses
        action.move(Stage.WAITING)
        took = (row.ended or row.created) - row.created
        self.lifecycle.later(action, self.lifecycle.now + 2 * took + 1.0, self._unhold, action)

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
        if action.kind not in WAITED_FOR:
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
            context=action.context,
            waiter=action.waiter,
            needs=action.needs,
            dependents=action.dependents,
            wake_at=action.wake_at,
            cache=Keyed() if action.cache else None,
        )
        assert again.parent is not None
        assert again.parent.children is not None
        again.run.actions[again.id] = again.parent.children[again.id] = again
        self.ask(again)


def _is_own(caller: Action, row: ActionRow) -> bool:
    """Whether the caller's attempt, which was parked, has seen this failure itself."""
    return caller.resumes and (row.ended or 0.0) >= (caller.started or 0.0)
