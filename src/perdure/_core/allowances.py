"""How much memory a worker may use, and what follows when it used more.

A worker may use what it holds in the ledger: the request of what it executes, and those of blocked
parents that it hosts. Where attempts run together they share a request, and each other's fate. As
soon as one of them has not declared any, nobody can say how much is too much, and nobody looks.
"""

from itertools import islice

import msgspec

from perdure._core import failures
from perdure._core.effects import Effects
from perdure._core.model import Demand, Failure, MemoryUse
from perdure._core.state import Action
from perdure._core.workers import Worker

QUICK_SECONDS = 0.02
"""Where attempts take less, it is not looked at each time how much memory is in use."""


def allowance(worker: Worker) -> int:
    """Return the bytes that the worker may use, with all it starts; 0: as many as there are."""
    if worker.pool.together:
        sizes = [demand.memory for demand in worker.shares]
    else:
        # On the main thread one runs, or waits, and the others are behind it.
        begun = islice(worker.attempts.values(), None if worker.pool.is_async else 1)
        sizes = [attempt.action.task.lane.demand.memory for attempt in begun]  # type: ignore[union-attr]
    return sum(sizes) if all(sizes) else 0


def allow(worker: Worker, effects: Effects, *, anew: bool = False) -> None:
    """Let the worker use what it holds; ``anew``: see what is there already, in any case."""
    before, worker.allowance = worker.allowance, allowance(worker)
    if anew or worker.allowance != before:
        worker.relayed = False
        effects.limits[worker.number] = worker


def is_quick(action: Action) -> bool:
    """Whether looking at memory before an attempt would take a noticeable part of its time."""
    assert action.task is not None
    seconds = action.task.seconds
    return seconds is not None and seconds < QUICK_SECONDS


def is_innocent(worker: Worker, use: MemoryUse | None) -> bool:
    """Whether others may have left behind what was too much.

    In a worker that has executed nothing else, all there is is the attempt's. Before each quick
    one, nobody looks at what is there.
    """
    if use is None or not worker.seasoned or worker.lane is None:
        return False
    if worker.pool.together:
        return use.peak - use.before <= use.limit
    # Where little was asked for, more is let pass than the worker holds.
    spare = max(0, use.limit - worker.allowance)
    return worker.relayed or use.peak - use.before <= worker.lane.demand.memory + spare


def larger(action: Action, failure: Failure) -> Demand | None:
    """Return what the action asks for next after this failure; None: nothing else than before."""
    assert action.task is not None
    spec = action.task.spec
    # A child's failure that its parent did not catch is not one of the parent's memory.
    if not spec.retry.on_oom or failure.code != failures.OUT_OF_MEMORY or failure.payload:
        return None
    used = failure.memory.peak if failure.memory else 0
    enough = max(used, spec.demand.memory)
    return next((step for step in spec.retry.on_oom if step.memory > enough), None)


def too_large(failure: Failure, shortage: str) -> Failure:
    """Return the failure of an action that has to ask for more than there is anywhere."""
    message = f"{failure.message}; on_oom asks for more than there is: {shortage}"
    return msgspec.structs.replace(failure, message=message, retryable=False)
