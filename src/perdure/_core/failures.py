"""Failures the controller itself makes. Their ``code`` names the class that users catch."""

import msgspec

from perdure._core.model import Failure, MemoryUse
from perdure.errors import PerdureError

OUT_OF_MEMORY = "out_of_memory"


def _failure(
    name: str, code: str, message: str, *, retryable: bool = False, hint: str = ""
) -> Failure:
    return Failure(f"perdure.errors.{name}", message, code=code, retryable=retryable, hint=hint)


def cancelled(message: str) -> Failure:
    """The action was cancelled or aborted."""
    return _failure("CancelledError", "cancelled", message)


def timed_out(limit: str, seconds: float, traceback: str = "") -> Failure:
    """A time limit passed. Only ``max_runtime`` may be retried: the others span all attempts."""
    return Failure(
        "perdure.errors.TaskTimeoutError",
        f"{limit} of {seconds:g} s passed",
        traceback=traceback,
        code="timeout",
        retryable=limit == "max_runtime",
    )


def unanswered(name: str) -> Failure:
    """A condition got no signal in time."""
    return _failure(
        "ConditionTimedoutError", "condition_timedout", f"nobody answered {name!r} in time"
    )


def refused(message: str) -> Failure:
    """A condition was answered with an error."""
    return _failure("ConditionFailedError", "condition_failed", message)


def worker_lost(message: str) -> Failure:
    """The worker process died while it executed the attempt."""
    return _failure("WorkerLostError", "worker_lost", message, retryable=True)


def out_of_memory(message: str) -> Failure:
    """The kernel killed the worker for its memory."""
    return _failure("OutOfMemoryError", OUT_OF_MEMORY, message, retryable=True)


def over_memory(use: MemoryUse) -> Failure:
    """The worker used more memory than it might."""
    message = f"it used {size(use.peak)} of memory; its limit was {size(use.limit)}"
    if use.before > use.limit // 4:
        message += f"; its worker had {size(use.before)} before it began"
    return msgspec.structs.replace(out_of_memory(message), memory=use)


def squeezed(available: int, used: int) -> Failure:
    """The attempt was stopped to protect the machine."""
    return out_of_memory(
        f"it was stopped because the machine had {size(available)} of memory left; it used "
        f"{size(used)}, and older work goes on"
    )


def alone(available: int, used: int) -> Failure:
    """The attempt needs more than the machine has."""
    return out_of_memory(
        f"it was stopped because the machine had {size(available)} of memory left, and nothing "
        f"else to stop; it used {size(used)}"
    )


def size(count: int) -> str:
    """Return a number of bytes for people."""
    amount, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.4g} {unit}"


def infeasible(message: str) -> Failure:
    """No node could ever satisfy the request."""
    return _failure("InfeasibleError", "infeasible", message)


def unplaced(error: PerdureError) -> Failure:
    """There is nowhere to start a worker."""
    name, retryable = type(error).__name__, error.retryable
    return _failure(name, error.code, error.message, retryable=retryable, hint=error.hint)


def unknown_queue(name: str) -> Failure:
    """Nobody has declared the queue."""
    message = (
        f"there is no queue {name!r}; declare it where the run is started, perdure.Queue({name!r}, "
        f"concurrency=3), or for all processes: perdure queue set {name} --concurrency 3"
    )
    return _failure("QueueNotFoundError", "queue_not_found", message)


def not_applied(unapplied: str) -> Failure:
    """Nothing may be left out of an image, and something would be."""
    return _failure("NotSupportedError", "not_supported", unapplied)


def too_deep(depth: int) -> Failure:
    """Tasks call tasks without end."""
    return _failure(
        "NestingTooDeepError",
        "nesting_too_deep",
        f"tasks are nested {depth} levels deep; most likely a recursion without end",
    )


def unknown_dependency(action: bytes) -> Failure:
    """A future in the inputs belongs to no action of this run."""
    return _failure(
        "ProtocolError", "protocol", f"the inputs hold a future of {action.hex()}, unknown here"
    )


def diverged(missing: list[str]) -> Failure:
    """A strict replay did not call everything that is recorded."""
    return _failure("ReplayDivergedError", "replay_diverged", divergence(missing))


def divergence(missing: list[str]) -> str:
    """Describe recorded children that a replay did not call."""
    shown = "\n".join(f"  - {name}" for name in missing[:10])
    more = f"\n  ... and {len(missing) - 10} more" if len(missing) > 10 else ""
    return (
        f"the replay did not call {len(missing)} recorded "
        f"{'child' if len(missing) == 1 else 'children'} again:\n{shown}{more}"
    )
