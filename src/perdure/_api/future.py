"""Futures: the outcome of an action, before and after it exists.

There are two kinds, chosen by where the call is made. On a running event loop a call gives a
:class:`LoopFuture`, a real ``asyncio.Future`` of that loop. Anywhere else it gives a
:class:`ThreadFuture`, which blocks. Both keep the outcome as the bytes it arrived in and decode it
at the first look, so a future that is only passed on costs no memory and no import of the value's
types.

``asyncio.create_task`` and ``TaskGroup.create_task`` want coroutines. A future cannot be one and
also be an ``asyncio.Future`` (``asyncio.wait`` refuses coroutines), so the loop is given a task
factory that wraps a future in a coroutine.
"""

import asyncio
import threading
from asyncio import AbstractEventLoop, _get_running_loop
from collections.abc import Callable, Generator
from typing import Any, Generic, Protocol, TypeVar

from perdure import _serde
from perdure._api.scope import Scope
from perdure._core.model import Failure
from perdure.errors import CancelledError, SyncTaskCallInAsyncContextError

T = TypeVar("T")

_init = asyncio.Future.__init__
_callbacks_lock = threading.Lock()
_UNKNOWN: Any = object()


class Future(_serde.Deferred, Generic[T]):
    """The outcome of a child action, perhaps not known yet.

    Await it, ask for its :meth:`result`, or pass it to another task: then its value goes there
    without being loaded here.

    Attributes:
        action_id: Id of the action.
        task: Full name of its task, or name of the step.
        absent: A looked-up step has no recorded outcome.
        passed_on: It was an argument of a call, which fails if this fails.
        withdrawn: The call, if it was cancelled before it was made: others may come to need it.
    """

    task: str
    absent: bool = False
    passed_on: bool = False
    withdrawn: Any = None
    _scope: Scope
    _encoded: bytes | None = None
    _failure: Failure | None = None
    _value: Any = _UNKNOWN
    _error: BaseException | None = None

    def done(self) -> bool:
        """Return whether the outcome is known or the call was cancelled."""
        raise NotImplementedError

    def cancelled(self) -> bool:
        """Return whether the call was cancelled through this future."""
        raise NotImplementedError

    def cancel(self) -> bool:
        """Cancel the action and everything below it; return False if it has its outcome."""
        raise NotImplementedError

    def result(self, timeout: float | None = None) -> T:
        """Return the value, or raise the error.

        Args:
            timeout: Seconds to wait, outside of event loops; ``None`` waits without limit.

        Raises:
            TimeoutError: The outcome is not known in time.
            SyncTaskCallInAsyncContextError: It is not known yet, and waiting would block a loop.
        """
        raise NotImplementedError

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error, or None if the action succeeded; otherwise like :meth:`result`."""
        raise NotImplementedError

    def add_done_callback(self, callback: Callable[..., object], **options: Any) -> None:
        """Call ``callback(self)`` once done; on an event loop soon after, elsewhere at once."""
        raise NotImplementedError

    def enter(self) -> None:
        """Wait until the call is made, if it is held back and this is no event loop."""

    def settle(self, value: bytes | None, failure: Failure | None) -> None:
        """Take the committed outcome; called by the worker, from any thread."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, T]:
        raise NotImplementedError

    def __repr__(self) -> str:
        if not self.done():
            state = "pending"
        elif self.cancelled():
            state = "cancelled"
        else:
            state = "succeeded" if self._failure is None else "failed"
        return f"<Future of {self.task} {self.action_id.hex()[:12]}, {state}>"

    def _keep(self, value: bytes | None, failure: Failure | None) -> None:
        self._encoded, self._failure = value, failure
        if value is None and failure is None:
            self.absent, self._value = True, None

    def _look(self) -> BaseException | None:
        """Decode the outcome at the first look; return its error."""
        if self._encoded is not None:
            self._value = _serde.loads(self._encoded, self._scope.blobs)
            self._encoded = None
        elif self._failure is not None and self._error is None:
            self._scope.looked_at(self.action_id)
            self._error = _serde.load_error(
                self._failure,
                self._scope.blobs,
                run=self._scope.run,
                action=self.action_id.hex(),
                task=self.task,
            )
            if not hasattr(self._error, "code"):
                # What Flyte 2's users tell errors apart by: ``error.code == "ValueError"``.
                self._error.code = self._failure.type.rpartition(".")[2]  # type: ignore[attr-defined]
            self._traceback = self._error.__traceback__
        return self._error

    def _get(self) -> T:
        error = self._look()
        if error is not None:
            # Without this each further raise would add frames to the same traceback.
            raise error.with_traceback(self._traceback)
        return self._value  # type: ignore[no-any-return]  # what the task returned

    def _would_block(self) -> SyncTaskCallInAsyncContextError:
        return SyncTaskCallInAsyncContextError(
            "waiting for this result here would block the event loop",
            hint="await the future instead of calling .result()",
            task=self.task,
        )


class LoopFuture(Future[T], asyncio.Future[T]):
    """A future of an event loop: everything asyncio does with futures works."""

    def __init__(self, scope: Scope, action: bytes, task: str, loop: AbstractEventLoop) -> None:
        _init(self, loop=loop)
        self._scope, self.action_id, self.task = scope, action, task

    done = asyncio.Future.done
    cancelled = asyncio.Future.cancelled
    add_done_callback = asyncio.Future.add_done_callback  # type: ignore[assignment]  # same use

    def settle(self, value: bytes | None, failure: Failure | None) -> None:
        loop = self.get_loop()
        if loop is _get_running_loop():
            self._finish(value, failure)
        elif not loop.is_closed():  # else nobody waits any more
            loop.call_soon_threadsafe(self._finish, value, failure)

    def _finish(self, value: bytes | None, failure: Failure | None) -> None:
        if not self.done():
            self._keep(value, failure)
            # asyncio only learns that there is an outcome; what it is, is decoded when looked at.
            self.set_result(None)  # type: ignore[arg-type]  # stands for the encoded value

    def cancel(self, msg: Any | None = None) -> bool:
        if not asyncio.Future.cancel(self, msg):
            return False
        self._scope.cancel_call(self.action_id)
        return True

    def result(self, timeout: float | None = None) -> T:
        if self._value is not _UNKNOWN:
            return self._value  # type: ignore[no-any-return]  # what the task returned
        self._check_done()
        return self._get()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if self._value is not _UNKNOWN:
            return None
        self._check_done()
        return self._look()

    def _check_done(self) -> None:
        if not self.done():
            raise self._would_block()
        if self.cancelled():
            asyncio.Future.result(self)  # raises, with the message that cancel was given

    def __await__(self) -> Generator[Any, None, T]:
        if not self.done():
            yield from asyncio.Future.__await__(self)
        return self.result()

    __iter__ = __await__


class ThreadFuture(Future[T]):
    """A future that threads wait for. It can be awaited, too, on any loop."""

    def __init__(self, scope: Scope, action: bytes, task: str) -> None:
        self._scope, self.action_id, self.task = scope, action, task
        self._done = self._cancelled = False
        self._callbacks: list[Callable[[Future[T]], object]] = []
        # Held until the outcome is known: waiting is acquiring. Far cheaper than an Event.
        self._pending = threading.Lock()
        self._pending.acquire()

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._cancelled

    def settle(self, value: bytes | None, failure: Failure | None) -> None:
        with _callbacks_lock:
            if self._done:
                return
            self._keep(value, failure)
            self._done = True
        self._release()

    def cancel(self) -> bool:
        with _callbacks_lock:
            if self._done:
                return self._cancelled
            self._done = self._cancelled = True
        self._scope.cancel_call(self.action_id)
        self._release()
        return True

    def _release(self) -> None:
        self._pending.release()
        for callback in self._callbacks:
            callback(self)
        self._callbacks.clear()

    def add_done_callback(self, callback: Callable[..., object], **options: Any) -> None:
        with _callbacks_lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def enter(self) -> None:
        room = self._scope.room(self.action_id)
        if not isinstance(room, ThreadFuture):
            return
        try:
            with self._scope.waiting(room.done, self.action_id):
                room.wait_here()
        except BaseException:
            self.cancel()  # whoever is interrupted here has no future to do it with
            raise

    def result(self, timeout: float | None = None) -> T:
        self._wait(timeout)
        return self._get()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._wait(timeout)
        return self._look()

    def _wait(self, timeout: float | None) -> None:
        if not self._done:
            if _get_running_loop() is not None:
                raise self._would_block()
            with self._scope.waiting(self.done, self.action_id, timed=timeout is not None):
                if not self.wait_here(timeout):
                    raise TimeoutError(f"{self.task} has no outcome after {timeout} seconds")
        if self._cancelled:
            raise CancelledError(
                "the call was cancelled", task=self.task, action=self.action_id.hex()
            )

    def wait_here(self, timeout: float | None = None) -> bool:
        """Block this thread until done; return False if it takes longer than ``timeout``."""
        if not self._pending.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            return False
        self._pending.release()  # let the next waiter pass
        return True

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()

            def wake() -> None:
                if not waiter.done():
                    waiter.set_result(None)

            self.add_done_callback(lambda _: loop.call_soon_threadsafe(wake))
            try:
                yield from waiter
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()


class FinishedFuture(ThreadFuture[T]):
    """What ``submit`` gives outside any run: the function has been executed already."""

    def __init__(self, task: str, function: Callable[[], T]) -> None:
        self.action_id, self.task = b"", task
        self._done, self._cancelled = True, False
        try:
            self._value = function()
        except Exception as error:
            self._error, self._traceback = error, error.__traceback__

    def _look(self) -> BaseException | None:
        return self._error


def settled_future(scope: Scope, action: bytes, task: str, value: bytes) -> Future[Any]:
    """Return such a future whose value is known already."""
    future = make_future(scope, action, task)
    if type(future) is LoopFuture:
        future._encoded = value  # noqa: SLF001  # what settling amounts to before anybody waits
        future.set_result(None)
    else:
        future.settle(value, None)
    return future


def make_future(scope: Scope, action: bytes, task: str) -> Future[Any]:
    """Return a future of the kind that fits the calling code."""
    loop = _get_running_loop()
    if loop is None:
        return ThreadFuture(scope, action, task)
    factory = loop.get_task_factory()
    if type(factory) is not TaskFactory:
        loop.set_task_factory(TaskFactory(factory))
    return LoopFuture(scope, action, task, loop)


class _Factory(Protocol):
    def __call__(
        self, loop: AbstractEventLoop, coro: Any, /, **options: Any
    ) -> "asyncio.Future[Any]": ...


class TaskFactory:
    """Makes asyncio tasks of futures, and of everything else as it was made before."""

    def __init__(self, inner: Any = None) -> None:
        self._inner: _Factory | None = inner

    def __call__(
        self, loop: AbstractEventLoop, coro: Any, /, **options: Any
    ) -> "asyncio.Future[Any]":
        """Return the task that awaits ``coro``."""
        if isinstance(coro, Future):
            coro = _outcome(coro)
        if self._inner is not None:
            return self._inner(loop, coro, **options)
        return asyncio.Task(coro, loop=loop, **options)


async def _outcome(future: Future[T]) -> T:
    return await future


def on_loop() -> bool:
    """Whether this code runs on an event loop, which blocking would stop."""
    return _get_running_loop() is not None
