"""What is ready to run, and in which order it is taken.

Ready actions wait in *lanes*: same pool of workers, same demand. Within a run they are taken in the
order in which sequential code would do the work (depth first by call position): parents that
started finish before new ones start, so few parents are ever half done. Between runs, the one with
the fewest attempts running goes first.
"""

import heapq
from collections import deque
from functools import partial

from perdure._core.model import Demand
from perdure._core.state import Action, Lane, Pool, PoolKey, Run, RunQueue
from perdure._core.transitions import Stage

AFTER_ALL = 1 << 62
"""Greater than the position of any call."""


def behind(action: Action) -> tuple[int, ...]:
    """Return the place behind an action that waits, and behind its siblings."""
    before = action.parent.order if action.parent else action.order
    return (*before, AFTER_ALL, AFTER_ALL)


class Lanes:
    """The lanes of a controller.

    Attributes:
        all: By pool and demand.
    """

    def __init__(self) -> None:
        self.all: dict[tuple[PoolKey, Demand], Lane] = {}
        self._pushes = 0

    def of(self, pool: Pool, demand: Demand) -> Lane:
        """Return the lane of that demand, making it when it is new."""
        return self.all.setdefault((pool.key, demand), Lane(pool, demand))

    def drop(self, pool: Pool) -> None:
        """Nobody is going to use the pool any more."""
        for place in [place for place in self.all if place[0] == pool.key]:
            del self.all[place]

    def in_order(self) -> list[Lane]:
        """Return the lanes that hold something, the one with the oldest work first."""
        lanes = [lane for lane in self.all.values() if lane.count]
        if len(lanes) > 1:
            for lane in lanes:
                for queue in lane.queues.values():
                    _first_group(queue)  # what is not ready any more must not decide
            lanes.sort(key=_head)
        return lanes

    def waiting_for(self, pool: Pool) -> list[Run]:
        """Return the runs that have ready actions for the pool."""
        lanes = [lane for lane in self.all.values() if lane.pool is pool]
        return list(dict.fromkeys(run for lane in lanes for run in lane.queues))

    def add(self, action: Action, *, front: bool = False) -> None:
        """Add a ready action; ``front`` when it has been out before."""
        assert action.task is not None
        lane = action.task.lane
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

    def left(self, action: Action) -> None:
        """An action stopped being ready; an entry that has not been taken out is skipped."""
        assert action.task is not None
        lane = action.task.lane
        lane.count -= 1
        if not lane.count:
            lane.queues.clear()  # nobody will come by to skip the entries that are left

    def first(self, lane: Lane) -> Action | None:
        """Return the action of the lane that is first in order."""
        queues = lane.queues
        while queues:
            run = next(iter(queues))
            if len(queues) > 1:
                run = min(queues, key=partial(_urgency, lane))
            group = _first_group(queues[run])
            if group:
                return group[0]
            del queues[run]
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


def _urgency(lane: Lane, run: Run) -> tuple[bool, int]:
    """Return how soon it is the run's turn: after those with less, and after whom it gave way."""
    queue = lane.queues[run]
    siblings = queue.groups[queue.heap[0][2]] if queue.heap else ()
    return bool(siblings and siblings[0].behind), run.running


def _head(lane: Lane) -> tuple[tuple[int, ...], int]:
    """Return the place of the lane's first action: by its parent, then among its siblings.

    A root comes before what is below older roots, as long as it needs no more than cpu, which is
    soon free again. Memory and devices that it took would be missing to older work for long.
    """
    keeps = bool(lane.share.space or lane.pool.gpu)
    return min((_first(q, keeps) for q in lane.queues.values() if q.heap), default=((), 0))


def _first(queue: RunQueue, keeps: bool) -> tuple[tuple[int, ...], int]:
    order, _, group = queue.heap[0]
    siblings = queue.groups[group]
    index = siblings[0].index if siblings else 0
    return ((index,), 0) if keeps and not order else (order, index)
