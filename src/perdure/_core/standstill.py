"""Parents that keep what their children need.

A parent that waits for its children keeps its memory and its devices. A call that asks for more
than its own parents leave of the node is refused (``nesting.py``). But parents of different
families may keep so much together that no child of any can start, whatever else goes on. Then the
youngest gives way: its worker is stopped, which frees what it keeps, and it is queued again, to be
replayed from what is recorded of it. The oldest goes on; so it does not come to that for ever.
"""

from perdure._core import failures
from perdure._core.lanes import behind
from perdure._core.lifecycle import Lifecycle
from perdure._core.nesting import lane_of, shortage_of, upwards
from perdure._core.scheduling import Scheduler
from perdure._core.state import Action, Lane
from perdure._core.transitions import Stage
from perdure._core.wishes import Wish
from perdure._core.workers import Worker

PATIENCE_SECONDS = 1.0
"""How long something must have waited before it is looked into."""

_MOVING = frozenset({Stage.RECALLING, Stage.RETRYING, Stage.AUDITING, Stage.COMMITTING})


class Standstill:
    """Notices that nothing moves because of what waiting parents keep, and lets one give way."""

    def __init__(self, scheduler: Scheduler, lifecycle: Lifecycle) -> None:
        self.scheduler = scheduler
        self.lifecycle = lifecycle
        self._watching = False

    def watch(self) -> None:
        """Something waits for space or devices: look at it in a while."""
        if not self._watching:
            self._watching = True
            due = self.lifecycle.now + PATIENCE_SECONDS
            self.lifecycle.timers.at(due, self._look)

    def _look(self) -> None:
        self._watching = False
        scheduler = self.scheduler
        lane = scheduler.starved
        action = None if lane is None else scheduler.lanes.first(lane)
        if lane is None or action is None:
            return
        if shortage := shortage_of(action, scheduler):  # its parents ask for more by now
            self.lifecycle.fail(action, failures.infeasible(shortage))
            return
        workers = scheduler.staff.workers.values()
        keepers = [w for w in workers if w.attempts and self._keeps(w, lane)]
        if any(w.stopping or any(map(self._goes_on, _actions(w))) for w in keepers):
            return
        family = set(upwards(action))
        others = [w for w in keepers if not family.issuperset(_actions(w))]
        if others:
            # Rather one that hosts nobody of the family: its own parents would be replayed, too.
            victim = max(others, key=lambda w: (family.isdisjoint(_actions(w)), _age(w)))
            self._stop(victim, action, family)

    def _goes_on(self, action: Action) -> bool:
        """Whether the action, or anything below it, is going to change without anybody's help."""
        attempt = action.attempt
        if attempt is not None and (not attempt.blocked or attempt.resuming or action.ending):
            return True
        if attempt is not None and any(map(self._is_let_in, (attempt.wishes or {}).values())):
            return True
        if action.stage is Stage.QUEUED:
            # It may have to leave alone what older work waits for, which waits for its parents.
            return self._may_start(lane_of(action))
        if action.wake_at is not None:
            return action.wake_at <= self.lifecycle.now + PATIENCE_SECONDS
        if action.stage in _MOVING or (action.stage is Stage.CONSULTING and action.timers):
            return True
        return any(self._goes_on(child) for child in (action.children or {}).values())

    def _may_start(self, lane: Lane) -> bool:
        return (lane.share.names - {"cpu"}).isdisjoint(self.scheduler.wanted)

    def _is_let_in(self, wish: Wish) -> bool:
        """Whether a call is held back only until something else has started."""
        queue = wish.queue
        if wish.granted or not queue.wishes.waiting or queue.limits is None:
            return True
        lanes = [each for each in self.scheduler.lanes.all.values() if each.queue is queue]
        return any(lane.count and self._may_start(lane) for lane in lanes)

    def _keeps(self, worker: Worker, lane: Lane) -> bool:
        """Whether the worker has something that the lane lacks."""
        lacking = self.scheduler.ledger.lacking(lane.share)
        kept = [space for attempt in worker.attempts.values() for space in attempt.kept_space]
        kept += worker.space
        if worker.pool.together:
            kept += [space for action in _actions(worker) for space in lane_of(action).share.space]
        return any(name in lacking for name, _ in kept) or bool(lane.pool.gpu and worker.devices)

    def _stop(self, worker: Worker, waiting: Action, family: set[Action]) -> None:
        for action in _actions(worker):
            if action not in family:
                action.behind = behind(waiting)
            self.lifecycle.notice(
                action.run,
                action,
                "warning",
                f"stopped, to be replayed later: while it waited for its children, it kept what "
                f"older work needs to go on ({waiting.name} of run {waiting.run.name})",
            )
        worker.killed = worker.stopping = True
        self.lifecycle.effects.kills.append(worker)


def _actions(worker: Worker) -> list[Action]:
    return [attempt.action for attempt in worker.attempts.values()]


def _age(worker: Worker) -> tuple[int, ...]:
    """Return the place of the oldest action there."""
    return min(action.order for action in _actions(worker))
