"""Executes ``async def`` tasks on one event loop, on the main thread.

Theory of operation
-------------------
Assigned attempts wait in a FIFO. An attempt is *active* while it has no outstanding call: it
computes, or waits for something only it knows about. One that has called children is waiting for
them, costs nothing, and lets the next one start; the controller, which sees the same calls,
reckons in the same way, so nothing has to be said about it. The next attempt starts when fewer are
active than the environment's ``concurrency``, which is 1 unless its ``ReusePolicy`` says otherwise;
of tasks that are known to be quick, a few start together, to share a turn of the loop.

Each attempt is one ``asyncio.Task`` with a context of its own, in which its scope is set. From
Python 3.12 on the task starts eagerly: one that never waits is done without a turn of the loop.
Everything the task's coroutine raises is caught inside it, ``SystemExit`` included, so that nothing
a task does ends the loop.

Messages made in one turn of the loop leave in one frame. Only results may wait longer, up to a
millisecond, while quick attempts are queued behind them.
"""

import asyncio
import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from uvloop import new_event_loop

from perdure._api import scope
from perdure._api.future import Future, TaskFactory, ThreadFuture
from perdure._api.task import Task
from perdure._core.model import Failure
from perdure._serde import Encoded
from perdure._wire.framing import decode_to_worker, encode
from perdure._wire.lingering import LITTLE, LoopConversation
from perdure._wire.messages import Left, Stays, ToWorker, Worn
from perdure._worker import leaving, logs
from perdure._worker.attempt import Attempt
from perdure._worker.death import die
from perdure._worker.endings import OWN_CODE, stopped
from perdure._worker.leaving import Company
from perdure._worker.session import FLUSH_MESSAGES, FLUSH_SECONDS, FRAME_MESSAGES, Pace, Session
from perdure._worker.startup import start_up_on_loop
from perdure._worker.stream import LoopStream

if TYPE_CHECKING:
    from perdure._worker.main import Link

BURST = 16
"""Quick attempts that may be active at once."""

_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}
_NOTHING: AbstractContextManager[None] = contextlib.nullcontext()


def run(link: "Link") -> None:
    """Execute attempts until the controller says Stop; if the connection is lost, die."""
    executor = AsyncExecutor(link)
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        if not loop.run_until_complete(start_up_on_loop(executor, link)):
            return
        loop.run_until_complete(executor.connect())
        loop.call_soon(executor.begin, link.messages)
        while not executor.stopped:
            # An asyncio task of user code may raise these right through the loop.
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                loop.run_forever()
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class AsyncExecutor(Session):
    """Runs attempts on the current event loop.

    Attributes:
        stopped: The controller has said Stop.
    """

    def __init__(self, link: "Link") -> None:
        super().__init__(link)
        self.stopped = False
        self._thread = threading.get_ident()
        # An attempt may be started from another one's code: what that has set must not leak.
        self._context = copy_context()
        self._queue: deque[Attempt] = deque()
        self._active = 0
        self._concurrency = link.welcome.concurrency
        self._most_active = max(BURST, self._concurrency)
        self._pumping = False
        self._pace = Pace()
        self._frame = FRAME_MESSAGES
        self._flush_due = False
        self._gathering = False
        self._gathered_since = 0.0

    async def connect(self) -> None:
        """Use the socket on the running loop from now on."""
        self._loop = loop = asyncio.get_running_loop()
        self._company = Company()
        loop.set_task_factory(TaskFactory())
        self._stream = LoopStream(self._sock, self._received)
        self._conversation = LoopConversation(loop)

    # --- the connection ---------------------------------------------------------------------------

    def begin(self, messages: list[ToWorker]) -> None:
        """Act on what arrived together with Welcome, then on the rest."""
        self.receive(messages)
        self._pump()
        self._stream.start_reading()

    def _received(self, data: memoryview) -> None:
        """Act on what arrived, then start what can start."""
        if not data and not self.stopped:
            die()  # nobody is there to work for
        for body in self._reader.feed(data):
            self.receive(decode_to_worker(body))
        self._pump()
        if len(data) < LITTLE:
            self._conversation.linger()

    def stand_still(self, future: ThreadFuture[Any]) -> None:
        """Wait for a step's future; on the loop's thread, in the loop's stead."""
        if threading.get_ident() != self._thread:
            super().stand_still(future)
            return
        pumping, self._pumping = self._pumping, True  # nothing may start inside the waiting code
        try:
            self.flush()
            self._stream.serve_until(future.done)
        finally:
            self._pumping = pumping
        self._loop.call_soon(self._pump)

    def may_stand_still(self) -> bool:
        """Only the loop's own thread: another's answer comes when the loop has its turn."""
        return threading.get_ident() == self._thread

    def hurry(self) -> None:
        """Send the next message at once, then two, four, and so on."""
        self._frame = 1

    def post_now(self) -> None:
        """Send without waiting for the end of this turn of the loop."""
        if threading.get_ident() == self._thread:
            self._send_now()
        else:
            self.posted()

    def posted(self) -> None:
        """Send at the end of this turn of the loop; a full frame at once, so others can begin."""
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self.flush)
        elif len(self.messages) >= self._frame:
            self._send_now()
            self._frame = min(2 * self._frame, FRAME_MESSAGES)
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what has been gathered."""
        self._flush_due = self._gathering = False
        with self.lock:
            messages, self.messages = self.messages, []
        for start in range(0, len(messages), FRAME_MESSAGES):
            self._stream.write(encode(messages[start : start + FRAME_MESSAGES]))
        self._pump()

    def _posted_result(self) -> None:
        """Let a result wait for others, but not long."""
        now = time.perf_counter()
        if not self._queue and not self._active:
            self.flush()  # nothing here is going to add to it in this turn
        elif not self._queue or len(self.messages) >= FLUSH_MESSAGES:
            self.posted()
        elif not self._gathering:
            self._gathering, self._gathered_since = True, now
            self._loop.call_later(FLUSH_SECONDS, self.flush)
        elif now - self._gathered_since > FLUSH_SECONDS:
            self.posted()

    # --- starting and stopping --------------------------------------------------------------------

    def assigned(self, attempt: Attempt) -> None:
        """Queue an attempt; the end of the frame starts what can start."""
        self._queue.append(attempt)

    def revoke(self, handles: frozenset[int]) -> None:
        """Give back those attempts that have not started; say so also if that is none."""
        returned = [attempt for attempt in self._queue if attempt.handle in handles]
        self._queue = deque(a for a in self._queue if a.handle not in handles)
        with self.lock:
            self.give_back(returned)
        self.posted()

    def cancel(self, handle: int, reason: str) -> None:
        """Cancel the asyncio task of an attempt; one that has not started just ends."""
        attempt = self.attempts.get(handle)
        if attempt is not None:
            attempt.cancelled_for = reason
            attempt.runner.cancel()
            return
        for attempt in self._queue:
            if attempt.handle == handle:
                self._queue.remove(attempt)
                with self.lock:
                    attempt.finish(stopped(reason), ())
                self.posted()
                return

    def leave(self, handle: int) -> None:
        """Abandon the attempt's coroutine where it waits; it is neither cancelled nor closed."""
        attempt = self.attempts.get(handle)
        if attempt is None:
            return  # it has ended
        others = [a.runner for a in self.attempts.values() if a is not attempt]
        leaves = self._company.is_gone() and leaving.rests(attempt, self._loop, others)
        with self.lock:
            if leaves:
                del self.attempts[handle]
                attempt.leave()
                self.messages.append(Left(handle, self.logs.end(handle)))
                if leaving.abandon(attempt):
                    self.messages.append(Worn())
            else:
                self.messages.append(Stays(handle))
        self.posted()

    def stop(self) -> None:
        """End the loop."""
        self.flush()
        self.stopped = True
        self._loop.stop()

    def _pump(self) -> None:
        """Start queued attempts as others end, without keeping the loop from its work."""
        if self._pumping:
            return
        self._pumping = True
        until = time.perf_counter() + FLUSH_SECONDS
        while self._queue and self._active < self._most_active:
            attempt = self._queue[0]
            quick = self._pace.quick(attempt.task_number)
            if self._active >= self._concurrency and not quick:
                break
            if time.perf_counter() > until:
                self._loop.call_soon(self._pump)
                break
            if self.messages and not quick:
                self._send_now()
            self._queue.popleft()
            self._start(attempt)
        self._pumping = False

    def _send_now(self) -> None:
        with self.lock:
            messages, self.messages = self.messages, []
        self._stream.write(encode(messages))

    def _start(self, attempt: Attempt) -> None:
        self._active += 1
        self.attempts[attempt.handle] = attempt
        self.logs.begin(attempt.handle)
        attempt.begin()
        attempt.runner = asyncio.Task(
            self._execute(attempt), loop=self._loop, context=self._context.copy(), **_EAGER
        )

    # --- executing --------------------------------------------------------------------------------

    async def _execute(self, attempt: Attempt) -> None:
        scope.enter(attempt)
        logs.current.set(attempt.handle)
        task: Task[..., Any] | None = None
        outcome: Encoded | Failure
        try:
            task, args, kwargs = attempt.prepare()
            result = await task.function(*args, **kwargs)
            if isinstance(result, Future):
                result = await result
            outcome = attempt.succeeded(task, result)
        except BaseException as error:  # whatever it is, it is the outcome of the attempt
            outcome = attempt.failed(error, task)
        self._end(attempt, outcome)

    def _end(self, attempt: Attempt, outcome: Encoded | Failure) -> None:
        if attempt.handle not in self.attempts:
            return  # it was left, and something has woken it all the same
        self.surroundings.leave_if_forked(outcome)
        outcome = self.guarded(attempt, outcome)
        attempt.publish()
        with self.lock:
            if not attempt.calls:
                self._active -= 1
            seconds = attempt.finish(outcome, self.logs.end(attempt.handle))
            del self.attempts[attempt.handle]
        if attempt.calls or attempt.steps:
            attempt.abandon()
        self._pace.ended(attempt.task_number, seconds)
        self._posted_result()
        if not self.attempts:
            self.surroundings.restore()
        self._pump()

    def opened(self, attempt: Attempt, future: Future[Any]) -> None:
        """With its first outstanding call an attempt stops being active."""
        if len(attempt.calls) == 1:
            self._active -= 1

    def closed(self, attempt: Attempt, future: Future[Any]) -> None:
        """With its last outstanding call resolved an attempt is active again."""
        if not attempt.calls:
            self._active += 1

    def heard(self, handle: int, action: bytes) -> None:
        """Nothing to do: outstanding calls say it all."""

    def waiting(
        self, done: Callable[[], bool], action: bytes, *, timed: bool
    ) -> AbstractContextManager[None]:
        """Nothing to do: outstanding calls say it all."""
        return _NOTHING


OWN_CODE.add(AsyncExecutor._execute.__code__)  # noqa: SLF001  # to leave it out of tracebacks
