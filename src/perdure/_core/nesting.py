"""What can never run, because the node has too little, or leaves too little beside its parents.

Parents that wait for a call keep their memory and their devices. So what they keep is not there for
the call, whatever ends meanwhile.
"""

from collections.abc import Iterator

from perdure._core.scheduling import Scheduler
from perdure._core.state import Action, Lane


def shortage_of(action: Action, scheduler: Scheduler) -> str:
    """Return why the action can never run, or ""."""
    task = action.task
    assert task is not None
    return "" if task.modest else task.shortage or _nested_shortage(action, scheduler)


def _nested_shortage(action: Action, scheduler: Scheduler) -> str:
    """Return why it can never run beside the parents that wait for it, or ""."""
    own, above = lane_of(action), _lanes_above(action)
    kept: dict[str, int] = {}
    gpus: list[tuple[float, str]] = []
    together = {(lane.pool.key, lane.demand): lane for lane in above if lane.pool.together}
    for lane in together.values():
        _add(kept, lane)
    for lane in above:
        if not lane.pool.together:
            _add(kept, lane)
    seen = set()
    for lane in above:
        pool = lane.pool  # in an async one, children may join their parents
        if pool.gpu and not (pool.is_async and id(pool) in seen):
            gpus.append((pool.gpu, pool.device))
        seen.add(id(pool))
    joins = (own.pool.key, own.demand) in together
    shortage = "" if joins else scheduler.ledger.nested_shortage(own.demand, kept)
    if shortage or (own.pool.is_async and id(own.pool) in seen):
        return shortage
    return scheduler.staff.devices.shortage(own.demand, gpus)


def _lanes_above(action: Action) -> list[Lane]:
    """Return the lanes of the actions above, from the root on."""
    return [lane_of(above) for above in upwards(action.parent)][::-1]


def _add(kept: dict[str, int], lane: Lane) -> None:
    for name, amount in lane.share.space:
        kept[name] = kept.get(name, 0) + amount


def upwards(action: Action | None) -> Iterator[Action]:
    """Yield the action and all above it."""
    while action is not None:
        yield action
        action = action.parent


def lane_of(action: Action) -> Lane:
    """Return where a task's action queues."""
    return action.task.lane  # type: ignore[union-attr]  # only tasks are placed
