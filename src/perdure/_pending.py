"""What one thread waits for and another brings about, whatever strikes the one that waits.

Ctrl-C raises ``KeyboardInterrupt`` between any two steps of the main thread, even right after it
has taken a lock and before it could know. If the other thread needed that lock to tell its news, as
it does with a ``concurrent.futures.Future``, it would stand still for ever, and nothing could be
stopped cleanly any more. Here nobody who tells waits for anybody.
"""

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_LOOK_SECONDS = 1.0
"""How late another waiting thread may be if one was struck in passing the gate, or if two made a
gate at the same moment."""


class Pending(Generic[T]):
    """A result that another thread will bring.

    Attributes:
        is_done: Whether it is there.
    """

    __slots__ = ("_error", "_gate", "_result", "is_done")

    def __init__(self) -> None:
        self._gate: threading.Lock | None = None  # who waits makes it
        self._result: T | None = None
        self._error: BaseException | None = None
        self.is_done = False

    def succeed(self, result: T) -> None:
        """Bring the result; never waits."""
        self._result = result
        self._finish()

    def fail(self, error: BaseException) -> None:
        """Bring an error instead; never waits."""
        self._error = error
        self._finish()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it, at most for so many seconds; return whether it is there."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._gate is None:
            gate = threading.Lock()
            gate.acquire()  # closed until there is something to fetch
            self._gate = gate
        while not self.is_done:
            left = _LOOK_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return False
            if self._gate.acquire(timeout=min(left, _LOOK_SECONDS)):
                self._gate.release()
        return True

    def result(self) -> T:
        """Wait for it; return it, or raise the error."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # None is one only if T is

    def _finish(self) -> None:
        self.is_done = True
        if self._gate is not None:
            self._gate.release()


def call(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Have a coroutine executed by the loop of another thread; return its result.

    Who is struck while waiting leaves the coroutine alone: it goes on.
    """
    pending: Pending[T] = Pending()

    def settle(task: "asyncio.Task[T]") -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            pending.fail(error)
        else:
            pending.succeed(task.result())

    try:
        loop.call_soon_threadsafe(lambda: loop.create_task(work).add_done_callback(settle))
    except RuntimeError:  # the loop is closed
        work.close()
        raise
    return pending.result()
