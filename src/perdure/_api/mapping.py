"""``perdure.map``: a task over many items, ordered, lazy, parallel, in flat memory.

At most :data:`WINDOW` calls are open at a time, each holding its encoded outcome until it is its
turn; items are taken from the iterables only when a call can be made. With ``concurrency`` fewer
are *unfinished* at a time, while finished ones may wait for their turn. Where calls are held back
until there is room in their queue, the next item is taken when the last call has been made.
"""

import asyncio
import functools
import queue
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from perdure._api.future import Future, on_loop
from perdure._api.grouping import group
from perdure._api.scope import current
from perdure._api.task import Task
from perdure.errors import ConfigurationError, SyncTaskCallInAsyncContextError

R = TypeVar("R")

WINDOW = 2000
"""Calls that may be open at a time."""


class Map:
    """The type of ``perdure.map``."""

    def __call__(
        self,
        task: Task[..., R] | functools.partial[R],
        *iterables: Iterable[Any],
        concurrency: int = 0,
        return_exceptions: bool = False,
        group_name: str | None = None,
    ) -> Iterator[R]:
        """Call ``task`` with the items of the iterables; yield the results in order.

        The shortest iterable ends it. When iteration stops early, open calls are cancelled.

        Args:
            task: A task, or a ``functools.partial`` of one.
            *iterables: One per argument, consumed lazily; they may be endless. If the task's queue
                has a ``depth``, the next items are taken when there is room for another call.
            concurrency: How many calls may be unfinished at a time; 0: as many as make sense.
            return_exceptions: Yield errors in place of results, rather than raise the first.
            group_name: Display group of the calls.

        Raises:
            SyncTaskCallInAsyncContextError: This is an event loop; use ``perdure.map.aio``.
        """
        calls = _Calls(task, iterables, concurrency, group_name)
        return _blocking(calls, return_exceptions)

    def aio(
        self,
        task: Task[..., R] | functools.partial[R],
        *iterables: Iterable[Any],
        concurrency: int = 0,
        return_exceptions: bool = False,
        group_name: str | None = None,
    ) -> AsyncIterator[R]:
        """Do the same in async code: ``async for result in perdure.map.aio(...)``."""
        calls = _Calls(task, iterables, concurrency, group_name)
        return _awaiting(calls, return_exceptions)


class _Calls(Generic[R]):
    """The calls of one map: which are open, and whether another may be made."""

    def __init__(
        self,
        task: Task[..., R] | functools.partial[R],
        iterables: tuple[Iterable[Any], ...],
        concurrency: int,
        group_name: str | None,
    ) -> None:
        function = task.func if isinstance(task, functools.partial) else task
        if not isinstance(function, Task):
            raise ConfigurationError(
                f"map needs a task, not {function!r}", hint="decorate the function with @env.task"
            )
        if not iterables:
            raise ConfigurationError(f"map of {function.name} was given nothing to iterate over")
        if concurrency < 0:
            raise ConfigurationError(f"concurrency={concurrency} is negative")
        self.task = function
        self.open: deque[Future[R]] = deque()
        self.concurrency = concurrency
        self._finished = 0
        self.room: Future[Any] | None = None
        self._notify: Callable[[Future[R] | None], object] | None = None
        self._bound = task if isinstance(task, functools.partial) else None
        self._items = zip(*iterables, strict=False)
        self._group = group_name

    def on_finish(self, notify: Callable[[Future[R] | None], object]) -> None:
        """Have every call tell when it is finished; only needed to count the unfinished.

        What is told of a call that was held back is None, once it has been made.
        """
        self._notify = notify

    def fill(self) -> None:
        """Make as many calls as may be made."""
        limit = self.concurrency or WINDOW
        while len(self.open) < WINDOW and len(self.open) - self._finished < limit:
            if self.room is not None and not self.room.done():
                return
            item = next(self._items, None)
            if item is None:
                return
            self.open.append(self._call(item))
            if self.open[0].done():
                return  # the consumer need not wait for the rest of the window

    def _call(self, item: tuple[Any, ...]) -> Future[R]:
        keywords: dict[str, Any] = {}
        if self._bound is not None:
            item, keywords = (*self._bound.args, *item), self._bound.keywords
        if self._group is None:
            future = self.task.submit(*item, **keywords)
        else:
            with group(self._group):
                future = self.task.submit(*item, **keywords)
        notify, scope = self._notify, current()
        if notify is not None:
            future.add_done_callback(notify)
        self.room = scope.room(future.action_id) if scope and self.task.settings.queue else None
        if self.room is not None and notify is not None:
            self.room.add_done_callback(lambda _: notify(None))
        return future

    def finished(self, future: Future[R] | None) -> None:
        """One more call is finished, or has been made."""
        self._finished += future is not None

    def news(self) -> "list[asyncio.Future[Any]]":
        """Return what to wait for: the outcome that comes next, or room for another call."""
        first, room = self.open[0], self.room
        return [first] if room is None or room.done() else [first, room]  # type: ignore[list-item]

    def take(self) -> Future[R]:
        """Remove the first call, whose turn it is."""
        if self._notify is not None:
            self._finished -= 1
        return self.open.popleft()

    def cancel(self) -> None:
        """Cancel what is open."""
        for future in self.open:
            future.cancel()


def _blocking(calls: _Calls[R], return_exceptions: bool) -> Iterator[R]:
    if on_loop():
        raise SyncTaskCallInAsyncContextError(
            "perdure.map would block the event loop",
            hint="write: async for result in perdure.map.aio(...)",
            task=calls.task.name,
        )
    scope = current()
    finished: queue.SimpleQueue[Future[R] | None] = queue.SimpleQueue()
    if calls.concurrency and scope is not None:
        calls.on_finish(finished.put)
    try:
        while True:
            calls.fill()
            if not calls.open:
                return
            if calls.concurrency and scope is not None:
                # Any finished call makes room for another, whoever's turn it is.
                while not calls.open[0].done() or not finished.empty():
                    if finished.empty():
                        with scope.waiting(lambda: not finished.empty()):
                            calls.finished(finished.get())
                    else:
                        calls.finished(finished.get())
                    if not calls.open[0].done():
                        calls.fill()
            yield _outcome(calls.take(), return_exceptions)
    finally:
        calls.cancel()


async def _awaiting(calls: _Calls[R], return_exceptions: bool) -> AsyncIterator[R]:
    finished: asyncio.Queue[Future[R] | None] = asyncio.Queue()
    if calls.concurrency:
        calls.on_finish(finished.put_nowait)
    try:
        while True:
            calls.fill()
            if not calls.open:
                return
            if calls.concurrency:
                while not calls.open[0].done() or not finished.empty():
                    calls.finished(await finished.get())
                    if not calls.open[0].done():
                        calls.fill()
            while not calls.open[0].done():
                await asyncio.wait(calls.news(), return_when=asyncio.FIRST_COMPLETED)
                if not calls.open[0].done():
                    calls.fill()
            yield _outcome(calls.take(), return_exceptions)
    finally:
        calls.cancel()


def _outcome(future: Future[R], return_exceptions: bool) -> R:
    if return_exceptions:
        error = future.exception()
        if isinstance(error, Exception):
            return error  # type: ignore[return-value]  # as asked for
    return future.result()


map = Map()  # noqa: A001  # perdure.map
