"""How an attempt that does not return a value ends, as failures and tracebacks tell it."""

import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from types import CodeType

from perdure._core.model import Failure
from perdure.errors import CancelledError, TaskTimeoutError


def stopped(reason: str, error: BaseException | None = None) -> Failure:
    """Return the failure of an attempt that was told to stop."""
    kind = TaskTimeoutError if reason == "timeout" else CancelledError
    text = "".join(traceback.format_exception(error)) if error is not None else ""
    return Failure(
        type=f"{kind.__module__}.{kind.__qualname__}",
        message="the attempt ran out of time" if reason == "timeout" else "cancelled",
        traceback=text,
        code=kind.code,
        retryable=kind.retryable,
    )


OWN_CODE: set[CodeType] = set()
"""Code of the executors' functions that call user code: no use in a user's traceback."""


def drop_own_frames(error: BaseException) -> None:
    """Let the traceback begin in user code."""
    top = error.__traceback__
    while top is not None and top.tb_next is not None and top.tb_frame.f_code in OWN_CODE:
        top = top.tb_next
    error.__traceback__ = top


def leftovers(calls: Iterable[str], failed: Iterable[str]) -> Iterator[str]:
    """Yield what an attempt that has ended left undone, in words.

    Args:
        calls: Names of the tasks of calls that have no outcome.
        failed: Names of those whose failure nobody has looked at.
    """
    if names := Counter(calls):
        yield f"ended before its calls did; they are cancelled: {listed(names)}"
    if names := Counter(failed):
        yield f"ended without looking at the failure of: {listed(names)}"


def listed(names: "Counter[str]", limit: int = 5) -> str:
    """Return counted names for people: ``flights.clean (3), flights.fit``."""
    parts = [name if n == 1 else f"{name} ({n})" for name, n in names.most_common(limit)]
    more = len(names) - limit
    return ", ".join(parts) + (f" and {more} more tasks" if more > 0 else "")
