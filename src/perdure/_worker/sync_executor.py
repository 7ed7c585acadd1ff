"""Executes ``def`` tasks one at a time, on the main thread.

Theory of operation
-------------------
Three threads share the books of :class:`Session`:

- the *main thread* takes attempts from the FIFO and executes them, so that signals, CUDA and
  matplotlib behave as in a script;
- the *reader* takes frames from the socket, settles futures, queues what is assigned; while the
  main thread waits in the midst of a conversation, that does so itself (see ``intake.py``);
- the *flusher* sends what nobody else has sent for a few milliseconds. It is woken only when there
  is something to send for the first time after it slept.

**Waiting.** When a thread of the attempt waits for a child, nothing may be stuck behind it in the
queue, least of all that child: the queue is handed back, and ``Blocked`` is said, in the frame that
carries the call. What is assigned before the controller has learned that is handed back, too. The
controller gives the attempt its cpu share back before it tells the outcome that ends the wait, so
nothing is said then. Only if a thread goes on without that, ``Unblocked`` is put in front of the
next frame (the flusher sees to it that there is one soon). Futures of an event loop that user code
runs inside a task have no blocking call to observe; they count as waited for from the call to the
outcome.

**Results.** Those of quick attempts are gathered and leave when the queue is empty, after a
millisecond, or when there are many; never later than before an attempt that may be slow.

**Cancelling** is a real signal to the main thread, which interrupts ``time.sleep`` and reads. Its
handler raises :class:`AttemptCancelled` if user code of that very attempt is what it interrupted.
If it hit the worker's own code, where raising would corrupt the books, nothing happens and the
signal is sent again a moment later.
"""

import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from perdure._api import scope
from perdure._api.future import Future, LoopFuture, ThreadFuture
from perdure._api.task import Task
from perdure._core.model import Failure
from perdure._serde import Encoded
from perdure._wire.framing import decode_to_worker, encode
from perdure._wire.messages import Blocked, Left, Stays, Unblocked
from perdure._worker import logs
from perdure._worker.attempt import Attempt
from perdure._worker.death import die
from perdure._worker.endings import OWN_CODE, stopped
from perdure._worker.intake import Intake
from perdure._worker.leaving import Company
from perdure._worker.session import (
    FLUSH_MESSAGES,
    FLUSH_SECONDS,
    Pace,
    Session,
)
from perdure._worker.startup import start_up

if TYPE_CHECKING:
    from perdure._worker.main import Link

_FLUSHER_SECONDS = 0.002
_SIGNAL_SECONDS = 0.002
_SIGNAL = signal.SIGUSR1
_OWN_PACKAGE = "perdure._worker"


class AttemptCancelled(BaseException):  # user code sees it; it is no error
    """The attempt was cancelled or ran out of time. Let it pass; clean up in ``finally``."""


def run(link: "Link") -> None:
    """Execute attempts until the controller says Stop; if the connection is lost, die."""
    executor = SyncExecutor(link)
    signal.signal(_SIGNAL, executor.interrupt)
    if start_up(executor, link):
        executor.start(link)
        executor.serve()


class SyncExecutor(Session):
    """Runs attempts on the thread that calls :meth:`serve`, which must be the main thread."""

    def __init__(self, link: "Link") -> None:
        super().__init__(link)
        self._main = threading.get_ident()
        self._queue: deque[Attempt] = deque()
        self._arrived = threading.Condition(self.lock)
        self._stopped = False
        self._current: Attempt | None = None
        self._waits: list[_Waiting] = []
        self._loop_futures = 0
        self._said: bytes | None = None  # what it waits for, as the controller knows
        self._pace = Pace()
        self._gathered_since = 0.0
        self._sending = threading.Lock()
        self._armed = False
        self._alarm = threading.Semaphore(0)
        self._intake = Intake(link.sock, self._received)

    def start(self, link: "Link") -> None:
        """Act on what arrived with Welcome; start the reader and the flusher."""
        self.receive(link.messages)
        self._company = Company()
        for target in (self._flush_later, self._intake.serve):
            threading.Thread(target=target, name="perdure", daemon=True).start()

    # --- the connection ---------------------------------------------------------------------------

    def _received(self, data: memoryview) -> None:
        if not data and not self._stopped:
            die()  # nobody is there to work for
        try:
            for body in self._reader.feed(data):
                self.receive(decode_to_worker(body))
        except BaseException:
            traceback.print_exc()  # into the log; the books cannot be trusted any more
            die()

    def posted(self) -> None:
        """Have the flusher send it, unless somebody does before."""
        with self.lock:
            if self._armed:
                return
            self._armed = True
        self._alarm.release()

    def hurry(self) -> None:
        """Nothing to do: the flusher does not wait for many."""

    def post_now(self) -> None:
        """Send at once."""
        self.flush()

    def flush(self) -> None:
        """Send what has been gathered, and where the attempt stands if that has changed."""
        with self._sending:
            with self.lock:
                self._tell_state()
                messages, self.messages = self.messages, []
            if messages:
                self._send(encode(messages))

    def _send(self, frame: bytearray) -> None:
        try:
            self._sock.sendall(frame)
        except OSError:
            die()

    def _flush_later(self) -> None:
        while True:
            self._alarm.acquire()
            time.sleep(_FLUSHER_SECONDS)
            self._armed = False
            self.flush()

    def _tell_state(self) -> None:
        awaits = self._awaits()
        if awaits == self._said or self._current is None:
            return
        if awaits is not None:
            self.messages.append(Blocked(self._current.handle, awaits, self._current.seen))
        else:
            self.messages.insert(0, Unblocked(self._current.handle))
        self._said = awaits

    def _awaits(self) -> bytes | None:
        """Return the action that is waited for; b"" if any may end the wait, None if none is."""
        waits = [wait.action for wait in self._waits if not wait.done()]
        if not (waits or self._loop_futures):
            return None
        return waits[0] if len(waits) == 1 and not self._loop_futures else b""

    def _resolve(
        self, handle: int, action: bytes, value: bytes | None, failure: Failure | None
    ) -> None:
        super()._resolve(handle, action, value, failure)
        if value is None and failure is None:
            return  # no outcome: a step is not recorded
        with self.lock:
            self.heard(handle, action)
            is_over = self._said is not None or self._awaits() is None
        if not is_over:
            self.posted()

    def heard(self, handle: int, action: bytes) -> None:
        """The controller, too, takes a wait for this to be over."""
        attempt = self._current
        if attempt is None or attempt.handle != handle:
            return
        attempt.seen += 1
        if self._said in (b"", action):
            self._said = None

    # --- the queue --------------------------------------------------------------------------------

    def assigned(self, attempt: Attempt) -> None:
        """Queue an attempt, or hand it back if nothing can start here soon."""
        with self.lock:
            if not self._waits and not self._loop_futures and self._said is None:
                self._queue.append(attempt)
                self._arrived.notify()
                return
            self.give_back([attempt])
        self.flush()

    def revoke(self, handles: frozenset[int]) -> None:
        """Give back those attempts that have not started; say so also if that is none."""
        with self.lock:
            self.give_back([attempt for attempt in self._queue if attempt.handle in handles])
            self._queue = deque(a for a in self._queue if a.handle not in handles)
        self.flush()

    def leave(self, handle: int) -> None:
        """Die, if the main thread waits for children and there is nobody else to do anything."""
        with self.lock:
            attempt = self._current
            leaves = (
                attempt is not None
                and attempt.handle == handle
                and self._rests(attempt)
                and self._company.is_gone()
            )
            self.messages.append(
                Left(handle, self.logs.end(handle), whole=True) if leaves else Stays(handle)
            )
            if leaves and attempt is not None:
                attempt.leave()
        self.flush()
        if leaves:
            die()  # the main thread is in the midst of user code, which must not go on

    def _rests(self, attempt: Attempt) -> bool:
        """Whether nothing but the outcomes of its calls makes the main thread go on."""
        if len(self._waits) != 1 or self._loop_futures:
            return False
        (wait,) = self._waits
        return (
            wait.thread == self._main
            and not (wait.timed or wait.done())
            and not attempt.cancelled_for
            and not (attempt.steps or attempt.gates)
            and not self.underway
            and not signal.getitimer(signal.ITIMER_REAL)[0]
        )

    def stop(self) -> None:
        """Let the main thread leave :meth:`serve`."""
        with self.lock:
            self._stopped = True
            self._arrived.notify()

    def _next(self) -> Attempt | None:
        self._intake.linger(lambda: bool(self._queue) or self._stopped)
        with self.lock:
            while not self._queue and not self._stopped:
                self._arrived.wait()
            return self._queue.popleft() if self._queue else None

    # --- cancelling -------------------------------------------------------------------------------

    def cancel(self, handle: int, reason: str) -> None:
        """Interrupt an attempt; one that has not started just ends."""
        with self.lock:
            current = self._current
            if current is not None and current.handle == handle:
                current.cancelled_for = reason
                threading.Thread(
                    target=self._keep_interrupting, args=(current,), name="perdure", daemon=True
                ).start()
                return
            for attempt in self._queue:
                if attempt.handle == handle:
                    self._queue.remove(attempt)
                    attempt.finish(stopped(reason), ())
                    break
        self.flush()

    def _keep_interrupting(self, attempt: Attempt) -> None:
        while self._current is attempt and attempt.runner is not None:
            signal.pthread_kill(self._main, _SIGNAL)
            time.sleep(_SIGNAL_SECONDS)

    def interrupt(self, signum: int, frame: FrameType | None) -> None:
        """Handle the signal: stop user code, but not our own code that it may be in."""
        attempt = self._current
        if attempt is None or not attempt.cancelled_for or attempt.runner is None:
            return
        while frame is not None and frame.f_code is not _USER_CALL:
            if frame.f_globals.get("__name__", "").startswith(_OWN_PACKAGE):
                return
            frame = frame.f_back
        if frame is not None:
            attempt.runner = None  # delivered, once
            raise AttemptCancelled(attempt.cancelled_for)

    # --- executing --------------------------------------------------------------------------------

    def serve(self) -> None:
        """Execute attempts until told to stop."""
        while (attempt := self._next()) is not None:
            if self.messages and not self._pace.quick(attempt.task_number):
                self.flush()
            self._execute(attempt)
        self.flush()

    def _execute(self, attempt: Attempt) -> None:
        with self.lock:
            self.attempts[attempt.handle] = attempt
            attempt.runner = self  # there is something to interrupt
            self._current = attempt
        scope.set_process_wide(attempt)
        scope.enter(attempt)
        logs.current.set(attempt.handle)
        self.logs.begin(attempt.handle)
        attempt.begin()
        task: Task[..., Any] | None = None
        outcome: Encoded | Failure
        try:
            task, args, kwargs = attempt.prepare()
            result = _call(task, args, kwargs)
            outcome = attempt.succeeded(task, result)
        except BaseException as error:  # whatever it is, it is the outcome of the attempt
            outcome = attempt.failed(error, task)
        scope.set_process_wide(None)
        self._end(attempt, outcome)

    def _end(self, attempt: Attempt, outcome: Encoded | Failure) -> None:
        self.surroundings.leave_if_forked(outcome)
        outcome = self.guarded(attempt, outcome)
        attempt.publish()
        log = self.logs.end(attempt.handle)
        with self.lock:
            self._waits.clear()
            self._loop_futures = 0
            self._tell_state()
            self._current = None
            if not self.messages:
                self._gathered_since = time.perf_counter()
            seconds = attempt.finish(outcome, log)
            del self.attempts[attempt.handle]
            full = (
                not self._queue
                or len(self.messages) >= FLUSH_MESSAGES
                or time.perf_counter() - self._gathered_since > FLUSH_SECONDS
            )
        if attempt.calls or attempt.steps:
            attempt.abandon()
        self._pace.ended(attempt.task_number, seconds)
        if full:
            self.flush()
        else:
            self.posted()
        self.surroundings.restore()

    # --- what attempts tell -----------------------------------------------------------------------

    def opened(self, attempt: Attempt, future: Future[Any]) -> None:
        """A future of an event loop is waited for from now on."""
        if isinstance(future, LoopFuture):
            self._loop_futures += 1
            self._clear_queue()

    def closed(self, attempt: Attempt, future: Future[Any]) -> None:
        """A future of an event loop is not waited for any more."""
        if isinstance(future, LoopFuture) and self._loop_futures:
            self._loop_futures -= 1

    def stand_still(self, future: ThreadFuture[Any]) -> None:
        """Wait for a step's future; the reader settles it."""
        self.flush()
        future.wait_here()

    def waiting(
        self, done: Callable[[], bool], action: bytes, *, timed: bool
    ) -> AbstractContextManager[None]:
        """A thread waits for children inside this block."""
        return _Waiting(self, done, action, timed=timed)

    def _clear_queue(self) -> None:
        if self._queue:
            self.give_back(list(self._queue))
            self._queue.clear()

    def block(self, wait: "_Waiting") -> None:
        """A thread begins to wait: hand back the queue and say so, with its call."""
        with self.lock:
            self._waits.append(wait)
            self._clear_queue()
        self.flush()
        if threading.get_ident() == self._main:
            self._intake.linger(wait.done)

    def unblock(self, wait: "_Waiting") -> None:
        """A thread goes on."""
        with self.lock:
            if wait in self._waits:
                self._waits.remove(wait)
            known = self._awaits() == self._said
        if not known:
            self.posted()


class _Waiting(AbstractContextManager[None]):
    def __init__(
        self, executor: SyncExecutor, done: Callable[[], bool], action: bytes, *, timed: bool
    ) -> None:
        self._executor = executor
        self.done = done
        self.action = action
        self.timed = timed
        self.thread = 0

    def __enter__(self) -> None:
        self.thread = threading.get_ident()
        self._executor.block(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.unblock(self)


def _call(task: Task[..., Any], args: list[Any], kwargs: Any) -> Any:
    """Call user code: what is above this frame on the stack may be interrupted."""
    result = task.function(*args, **kwargs)
    return result.result() if isinstance(result, Future) else result


_USER_CALL = _call.__code__
OWN_CODE.update((_USER_CALL, SyncExecutor._execute.__code__))  # noqa: SLF001
