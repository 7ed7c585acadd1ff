"""Waiting for several futures: ``gather``, ``wait``, ``as_completed``.

In sync code they block; in async code ``gather`` is awaited, ``wait`` has its ``.aio`` form and
``as_completed`` is iterated over with ``async for``.
"""

import asyncio
import queue
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from perdure._api.future import Future, on_loop
from perdure._api.scope import current
from perdure.errors import ConfigurationError, SyncTaskCallInAsyncContextError

T = TypeVar("T")


class Completed(Generic[T]):
    """Futures in the order in which they get their outcomes; for ``for`` and ``async for``."""

    def __init__(self, futures: Iterable[Future[T]]) -> None:
        self._futures = list(futures)

    def __iter__(self) -> Iterator[Future[T]]:
        _refuse_on_loop("as_completed", "async for future in perdure.as_completed(...)")
        return iter(_in_order(self._futures, None))

    async def __aiter__(self) -> AsyncIterator[Future[T]]:
        done: asyncio.Queue[Future[T]] = asyncio.Queue()
        for future in self._futures:
            _watch(future, done)
        for _ in self._futures:
            yield await done.get()


def as_completed(futures: Iterable[Future[T]]) -> Completed[T]:
    """Iterate over futures in the order in which they get their outcomes.

    Example::

        for future in perdure.as_completed([clean.submit(m) for m in months]):
            print(future.result())
    """
    return Completed(futures)


class Wait:
    """The type of ``perdure.wait``."""

    def __call__(
        self,
        futures: Iterable[Future[T]],
        num_returns: int = 1,
        timeout: float | None = None,
    ) -> tuple[list[Future[T]], list[Future[T]]]:
        """Wait until ``num_returns`` futures have their outcomes, or the time is over.

        Returns:
            At most ``num_returns`` futures that are done, and all others, both in the order given.

        Raises:
            ConfigurationError: ``num_returns`` is not between 1 and the number of futures.
            SyncTaskCallInAsyncContextError: This is an event loop; use ``perdure.wait.aio``.
        """
        _refuse_on_loop("wait", "done, rest = await perdure.wait.aio(...)")
        futures = _checked(futures, num_returns)
        for _ in zip(range(num_returns), _in_order(futures, timeout), strict=False):
            pass
        return _split(futures, num_returns)

    async def aio(
        self,
        futures: Iterable[Future[T]],
        num_returns: int = 1,
        timeout: float | None = None,
    ) -> tuple[list[Future[T]], list[Future[T]]]:
        """Do the same in async code."""
        futures = _checked(futures, num_returns)
        done: asyncio.Queue[Future[T]] = asyncio.Queue()
        for future in futures:
            _watch(future, done)
        try:
            async with asyncio.timeout(timeout):
                for _ in range(num_returns):
                    await done.get()
        except TimeoutError:
            pass
        return _split(futures, num_returns)


def gather(*futures: Any, return_exceptions: bool = False) -> Any:
    """Return the results of all futures, in order; in async code, await it.

    Args:
        *futures: Futures; in async code anything ``asyncio.gather`` takes.
        return_exceptions: Return errors in place of results, rather than raise the first.

    Raises:
        Exception: The first error that occurs, as soon as it does.
    """
    if on_loop():
        return asyncio.gather(*futures, return_exceptions=return_exceptions)
    if not return_exceptions:
        for future in _in_order(futures, None):
            future.result()
    return [_result(future, return_exceptions) for future in futures]


def _result(future: Future[T], return_exceptions: bool) -> Any:
    error = future.exception()
    if error is None or not (return_exceptions and isinstance(error, Exception)):
        return future.result()
    return error


def _in_order(futures: Sequence[Future[T]], timeout: float | None) -> Iterator[Future[T]]:
    """Yield futures as they get their outcomes, blocking; stop when the time is over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    done: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(done.put)
    scope = current()
    for _ in futures:
        try:
            if done.empty() and scope is not None:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                timed = deadline is not None
                with scope.waiting(lambda: not done.empty(), timed=timed):
                    future = done.get(timeout=left)
            else:
                future = done.get_nowait()
        except queue.Empty:
            return
        yield future


def _watch(future: Future[T], done: "asyncio.Queue[Future[T]]") -> None:
    """Put ``future`` into the queue once it has its outcome."""
    watched = asyncio.ensure_future(future)
    watched.add_done_callback(lambda _: done.put_nowait(future))


def _checked(futures: Iterable[Future[T]], num_returns: int) -> list[Future[T]]:
    futures = list(futures)
    if not 1 <= num_returns <= len(futures):
        raise ConfigurationError(
            f"num_returns={num_returns} for {len(futures)} futures",
            hint="give a number between 1 and the number of futures",
        )
    return futures


def _split(futures: list[Future[T]], num_returns: int) -> tuple[list[Future[T]], list[Future[T]]]:
    done = [future for future in futures if future.done()][:num_returns]
    chosen = {id(future) for future in done}
    return done, [future for future in futures if id(future) not in chosen]


def _refuse_on_loop(name: str, instead: str) -> None:
    if on_loop():
        raise SyncTaskCallInAsyncContextError(
            f"perdure.{name} would block the event loop", hint=f"write: {instead}"
        )


wait = Wait()
