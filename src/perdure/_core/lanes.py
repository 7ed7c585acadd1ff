"""What is ready to run, and in which order it is taken.

Ready actions wait in *lanes*: same pool of workers, same demand, same queue. Within a run they are
taken in the order in which sequential code would do the work (depth first by call position):
parents that started finish before new ones start, so few parents are ever half done. Between runs,
the one with the higher priority goes first, and among equals the one with the fewest attempts
running. No run is passed over for ever (``turns.py``).

Roots of runs that a queue has to admit wait there, and lanes of a queue without room are left out.
"""

import heapq
import math
from collections import deque
from collections.abc import Collection, Sequence
from operator import attrgetter

from perdure._core.model import Demand
from perdure._core.queueing import Queues
from perdure._core.queues import Queue
from perdure._core.state import Action, Lane, Run, RunQueue
from perdure._core.transitions import Stage
from perdure._core.turns import Turns
from perdure._core.workers import Pool, PoolKey

AFTER_ALL = 1 << 62
"""Greater than the position of any call."""

_priority = attrgetter("priority")


def behind(action: Action) -> tuple[int, ...]:
    """Return the place behind an action that waits, and behind its siblings."""
    before = action.parent.order if action.parent else action.order
    return (*before, AFTER_ALL, AFTER_ALL)


class Lanes:
    """The lanes of a controller.

    Attributes:
        all: By pool, demand and name of the queue.
    """

    def __init__(self, queues: Queues) -> None:
        self.all: dict[tuple[PoolKey, Demand, str], Lane] = {}
        self._queues = queues
        self._turns = Turns()
        self._taken = self._pushes = 0

    def of(self, pool: Pool, demand: Demand, queue: str) -> Lane:
        """Return the lane of that demand, making it when it is new."""
        key = pool.key, demand, queue
        lane = self.all.get(key)
        if lane is None:
            lane = self.all[key] = Lane(pool, demand, self._queues.get(queue))
        return lane

    def drop(self, pool: Pool) -> None:
        """Nobody is going to use the pool any more."""
        for place in [place for place in self.all if place[0] == pool.key]:
            del self.all[place]

    def in_order(self) -> list[Lane]:
        """Return the lanes of which something may start, the one whose turn it is first."""
        lanes = [lane for lane in self.all.values() if lane.count and self.may_start(lane)]
        if len(lanes) > 1:
            lanes.sort(key=self._head)
        return lanes

    def fell_behind(self, lane: Lane, others: Sequence[Lane]) -> bool:
        """Whether one of the others comes before the lane, now that its first actions are gone."""
        if not others:
            return False
        first = self._head(lane)
        return any(self._head(other) < first for other in others)

    def give_turns(self, wanted: set[str]) -> None:
        """Favour those who have had no turn for long, where it is time.

        Args:
            wanted: What older work waits for: nobody who asks for it is favoured.
        """
        for lane in self.all.values():
            turns = self._turns_of(lane)
            if turns.is_open and lane.count:
                lanes = [each for each in self.all.values() if each.count and self.may_start(each)]
                self._favour(turns, lanes, wanted - {"cpu"})

    def took(self, lane: Lane, run: Run) -> bool:
        """A worker was given work of the run; return whether the order is another one now."""
        self._taken += 1
        run.last_turn = self._taken
        return self._turns_of(lane).took(lane, run)

    def _favour(self, turns: Turns, lanes: list[Lane], wanted: set[str]) -> None:
        """Let the run have a turn that has had none for longest."""
        turns.favour(
            (lane, run)
            for lane in lanes
            if self._turns_of(lane) is turns and wanted.isdisjoint(lane.share.names)
            for run, queue in lane.queues.items()
            if queue.heap and not (_keeps(lane) and not queue.heap[0][0])
        )

    def _turns_of(self, lane: Lane) -> Turns:
        return self._turns if lane.queue is None else lane.queue.turns

    @staticmethod
    def may_start(lane: Lane) -> bool:
        """Whether something of the lane may start, as far as its queue is concerned."""
        queue = lane.queue
        return queue is None or queue.room > 0 or any(map(queue.may_start, lane.queues))

    def _head(self, lane: Lane) -> tuple[float, tuple[int, ...], int]:
        """Return the place of the lane's first action: by its parent, then among its siblings.

        A root comes before what is below older roots, as long as it needs no more than cpu, which
        is soon free again. Memory and devices that it took would be missing to older work for long.
        """
        for queue in lane.queues.values():
            _first_group(queue)  # what is not ready any more must not decide
        favoured = self._turns_of(lane).favoured
        if favoured is not None and favoured[0] is lane:
            return -math.inf, (), 0
        keeps = _keeps(lane)
        own = 0 if lane.queue is None else lane.queue.priority
        return min(
            (-run.priority - own, *_first(queue, keeps))
            for run, queue in lane.queues.items()
            if queue.heap
        )

    def has_ready(self, queue: Queue, run: Run) -> bool:
        """Whether something of the run waits in a queue."""
        lanes = [each for each in self.all.values() if each.queue is queue and run in each.queues]
        return any(_first_group(lane.queues[run]) for lane in lanes)

    def waiting_for(self, pool: Pool) -> list[Run]:
        """Return the runs that have ready actions for the pool."""
        lanes = [lane for lane in self.all.values() if lane.pool is pool]
        return list(dict.fromkeys(run for lane in lanes for run in lane.queues))

    def add(self, action: Action, *, front: bool = False) -> None:
        """Add a ready action; ``front`` when it has been out before."""
        assert action.task is not None
        lane = action.task.lane
        if action.parent is None and (run := action.run).queue is not None and not run.admitted:
            run.queue.enter(action)
            self._queues.use(run.queue)
            return
        queue = lane.queues.get(action.run)
        if queue is None:
            queue = lane.queues[action.run] = RunQueue()
        group = action if action.behind else action.parent
        siblings = queue.groups.get(group)
        if siblings is None:
            siblings = queue.groups[group] = deque()
            # What is below a started parent comes before what comes after it.
            below = (*action.parent.order, AFTER_ALL) if action.parent else ()
            self._pushes += 1
            heapq.heappush(queue.heap, (action.behind or below, self._pushes, group))
        (siblings.appendleft if front else siblings.append)(action)
        lane.count += 1
        if lane.queue is not None:
            lane.queue.waiting += 1
            self._queues.use(lane.queue)

    def left(self, action: Action) -> None:
        """An action stopped being ready; an entry that has not been taken out is skipped."""
        assert action.task is not None
        if action.is_entrant:
            action.is_entrant = False
            action.run.queue.withdraw(action.run)  # type: ignore[union-attr]  # it has one
            return
        lane = action.task.lane
        lane.count -= 1
        if lane.queue is not None:
            lane.queue.waiting -= 1
        if not lane.count:
            lane.queues.clear()  # nobody will come by to skip the entries that are left

    def _next_run(self, lane: Lane) -> Run | None:
        """Return the run whose turn it is in the lane; None if none may start anything."""
        runs: Collection[Run] = lane.queues
        if lane.queue is not None and lane.queue.room <= 0:
            runs = [*filter(lane.queue.may_start, runs)]
        if len(runs) < 2:
            return next(iter(runs), None)
        favoured = self._turns_of(lane).favoured
        if favoured is not None and favoured[0] is lane and favoured[1] in runs:
            return favoured[1]
        return _most_urgent(lane, runs)

    def priority_of(self, queue: Queue) -> int:
        """Return the highest priority of what waits in a queue."""
        runs = [
            run.priority for lane in self.all.values() if lane.queue is queue for run in lane.queues
        ]
        return queue.priority + max([*runs, *queue.entrants], default=0)

    def first(self, lane: Lane) -> Action | None:
        """Return the action of the lane that is first in order."""
        while lane.queues and (run := self._next_run(lane)) is not None:
            group = _first_group(lane.queues[run])
            if group:
                return group[0]
            del lane.queues[run]
        return None

    def take(self, first: Action) -> None:
        """Remove the action of its lane that is first in order."""
        assert first.task is not None
        _first_group(first.task.lane.queues[first.run]).popleft()
        self.left(first)


def _is_ready(action: Action) -> bool:
    """Whether it is still to be taken; otherwise its entry is to be skipped."""
    return action.stage is Stage.QUEUED and action.attempt is None


def _first_group(queue: RunQueue) -> deque[Action]:
    """Return the siblings that come first, the first of whom is ready; nobody if none is."""
    while queue.heap:
        parent = queue.heap[0][2]
        siblings = queue.groups[parent]
        while siblings and not _is_ready(siblings[0]):
            siblings.popleft()
        if siblings:
            return siblings
        heapq.heappop(queue.heap)
        del queue.groups[parent]
    return deque()


def _most_urgent(lane: Lane, runs: Collection[Run]) -> Run:
    """Return the run whose turn is soonest; the earlier of two that are equal."""
    soonest = (-max(map(_priority, runs)), False, 0)  # where thousands wait, it is the first's
    best, turn = None, (math.inf, True, 0)
    for run in runs:
        urgency = _urgency(lane, run)
        if best is None or urgency < turn:
            best, turn = run, urgency
            if urgency == soonest:
                break
    assert best is not None
    return best


def _urgency(lane: Lane, run: Run) -> tuple[int, bool, int]:
    """Return how soon it is the run's turn: after those with less, and after whom it gave way."""
    queue = lane.queues[run]
    siblings = queue.groups[queue.heap[0][2]] if queue.heap else ()
    return -run.priority, bool(siblings and siblings[0].behind), run.running


def _keeps(lane: Lane) -> bool:
    """Whether its actions take what they keep when they wait."""
    return bool(lane.share.space or lane.pool.gpu)


def _first(queue: RunQueue, keeps: bool) -> tuple[tuple[int, ...], int]:
    order, _, group = queue.heap[0]
    siblings = queue.groups[group]
    index = siblings[0].index if siblings else 0
    return ((index,), 0) if keeps and not order else (order, index)
