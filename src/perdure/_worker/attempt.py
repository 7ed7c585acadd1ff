"""An attempt in progress: the books of its calls, and how it ends.

The books: ``calls`` holds the futures of child actions, sleeps and conditions without an outcome,
``steps`` those of lookups and records. Both shrink as outcomes arrive, so a parent that makes a
million calls holds only those in flight. Failures stay listed until user code has looked at them.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure import _serde
from perdure._api.context import changed_context
from perdure._api.future import Future, ThreadFuture, make_future, settled_future
from perdure._api.grouping import current_group
from perdure._api.occurrence import Occurrences
from perdure._api.task import Task, closed
from perdure._core import failures
from perdure._core.artifacts import Request
from perdure._core.ids import action_id
from perdure._core.model import Failure, InputMark, LogSpan, TaskSpec
from perdure._serde import Encoded
from perdure._wire.messages import (
    Ask,
    Assign,
    Call,
    CancelCall,
    Done,
    Errand,
    Event,
    Lookup,
    MoreRecorded,
    Record,
    Recorded,
    Sleep,
)
from perdure._worker.endings import drop_own_frames, leftovers, stopped
from perdure._worker.gates import Gates, must_ask
from perdure._worker.known import FEW, MANY, Known
from perdure._worker.patience import MANY_CALLS
from perdure.errors import PerdureError, SerializationError

if TYPE_CHECKING:
    from perdure._api.report import Report
    from perdure._worker.session import Session


class Attempt:
    """One attempt; implements :class:`perdure._api.scope.Scope`.

    Attributes:
        handle: Its number on this connection.
        number: 0-based number of the attempt, as users see it.
        calls: Futures of children, sleeps and conditions without an outcome, by action id.
        gates: Those of them that are held back, if any were.
        cancelled_for: ``cancelled`` or ``timeout`` once it has been told to stop, else "".
        report: What it has reported so far, if anything.
        seen: How many outcomes of children and steps it has been told.
        runner: What executes it in an async worker.
    """

    __slots__ = (
        "_assign", "_claimed", "_draws", "_failed", "_known", "_occurrences", "_open", "_patient",
        "_scratch", "_session", "_started", "_started_at", "action", "blobs", "calls",
        "cancelled_for", "depth", "gates", "handle", "home", "number", "replay", "report", "run",
        "runner", "seen", "steps", "sync", "task", "underway",
    )  # fmt: skip

    def __init__(self, assign: Assign, task: str, session: "Session") -> None:
        self._assign = assign
        self._session = session
        self._occurrences = Occurrences()
        self._failed: dict[bytes, str] = {}
        self._known = Known() if assign.recorded else None
        self._claimed = self._draws = self.seen = 0
        self._open = True
        self._patient = False
        self._scratch: Path | None = None
        self._started = self._started_at = 0.0
        self.run, self.action, self.task = assign.run, assign.id, task
        self.number = assign.number
        self.replay = assign.replay
        self.depth = assign.depth
        self.handle, self.blobs = assign.attempt, session.blobs
        self.home, self.sync, self.underway = session.home, session.sync, session.underway
        self.calls: dict[bytes, Future[Any]] = {}
        self.steps: dict[bytes, Future[Any]] = {}
        self.gates: Gates | None = None
        self.cancelled_for = ""
        self.report: Report | None = None
        self.runner: Any = None

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the GPUs that belong to this process."""
        return self._session.devices

    @property
    def task_number(self) -> int:
        """Number under which the controller introduced the task."""
        return self._assign.task

    @property
    def state(self) -> Any:
        """What was made when the worker was started up."""
        return self._session.state

    # --- executing --------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take the time."""
        self._started_at = time.time()
        self._started = time.perf_counter()

    def prepare(self) -> tuple[Task[..., Any], list[Any], Mapping[str, Any]]:
        """Return the task and the arguments to call its function with.

        Raises:
            TaskLoadError: The task cannot be imported.
            SerializationError: An input cannot be decoded.
            TypeCheckError: The value of a future does not fit its parameter.
        """
        assign = self._assign
        task = self._session.load(assign.task)
        binder = task.binder()
        inputs = _serde.loads(assign.inputs, self.blobs, assign.values)
        arguments = binder.arguments(binder.received(inputs) if assign.values else inputs)
        if assign.counts:
            self._session.begins(self)
        return task, *arguments

    def succeeded(self, task: Task[..., Any], result: Any) -> Encoded:
        """Return the result, checked and encoded.

        Raises:
            TypeCheckError: It does not fit the return annotation.
            SerializationError: It cannot be encoded, or holds a future.
        """
        try:
            encoded = _serde.dumps(task.binder().check_result(result), self.blobs)
            self._tidy()
        except SerializationError as error:
            error.message = f"the result of {self.task} cannot be stored: {error.message}"
            raise
        if encoded.needs:
            raise SerializationError(
                f"the result of {self.task} holds a future",
                hint="await it (or take its .result()) before returning",
            )
        return encoded

    def failed(self, error: BaseException, task: Task[..., Any] | None) -> Failure:
        """Return what ended the attempt; ``task`` is None if it could not be loaded."""
        drop_own_frames(error)
        self._tidy()
        if self.cancelled_for:
            return stopped(self.cancelled_for, error)
        if isinstance(error, PerdureError) and not (error.run or error.action):
            error.run, error.action = self.run, self.action.hex()
            error.task = error.task or self.task
        retryable = task is not None and task.settings.retries.allows(error)
        return _serde.dump_error(error, self.blobs, retryable=retryable)

    def _tidy(self) -> None:
        """Remove what was written to the scratch folder."""
        if self._scratch is not None:
            import shutil

            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def finish(self, outcome: Encoded | Failure, log: tuple[LogSpan, ...]) -> float:
        """Close the books and post how it ended; return the seconds it took. Needs the lock."""
        seconds = time.perf_counter() - self._started if self._started else 0.0
        self._open = False
        self.lose_patience()
        if self.calls or self._failed:
            # A parent that fails leaves children behind as a matter of course.
            calls = self.calls.values() if isinstance(outcome, Encoded) else ()
            for text in leftovers((call.task for call in calls), self._failed.values()):
                self._warn(text)
        value, blobs = (outcome.data, outcome.blobs) if isinstance(outcome, Encoded) else (None, ())
        failure = outcome if isinstance(outcome, Failure) else None
        unfinished = tuple(self.calls) if self.calls else ()
        unclaimed = b""
        if self._known is not None:
            unclaimed = self._known.unclaimed()
            self._session.forget(self)
        self._session.messages.append(
            Done(
                self.handle, value, failure, seconds, self._started_at, log, blobs, unfinished,
                unclaimed,
            )
        )  # fmt: skip
        return seconds

    def publish(self) -> None:
        """Write what it has reported for the last time; its outcome does not depend on that."""
        if self.report is None:
            return
        from perdure._api.report import publish

        try:
            publish(self, final=True)
        except OSError as error:
            with self._session.lock:
                self._warn(f"has a report that could not be written: {error}")

    def abandon(self) -> None:
        """Settle what nobody answers any more: a thread left behind would wait for it for ever."""
        rooms = self.gates.rooms() if self.gates else ()
        left = [*self.calls.values(), *self.steps.values(), *rooms]
        if self._known is not None and self._known.news is not None:
            left.append(self._known.news)
        self.calls.clear()
        self.steps.clear()
        for future in left:
            future.settle(None, failures.cancelled("the action that made this call has ended"))

    def leave(self) -> None:
        """Close the books without a word: it goes on elsewhere, from its top. Needs the lock."""
        self._open = False
        self.lose_patience()
        self._session.forget(self)
        self._tidy()

    def _warn(self, text: str) -> None:
        self._session.messages.append(Event(self.handle, "warning", f"{self.task} {text}"))

    # --- the Scope --------------------------------------------------------------------------------

    @property
    def run_created(self) -> float:
        """When the run was asked for, in wall-clock seconds."""
        return self._assign.run_created

    @property
    def custom_context(self) -> Mapping[str, Any]:
        """What the action was given as custom context."""
        if not self._assign.context:
            return {}
        return _serde.loads(self._assign.context, self.blobs)  # type: ignore[no-any-return]

    def scratch(self) -> Path:
        """Return a folder for temporary files, removed when the attempt has ended."""
        if self._scratch is None:
            import tempfile

            self._scratch = Path(tempfile.mkdtemp(prefix="perdure-"))
        return self._scratch

    def next_id(self, name: str, inputs: bytes) -> bytes:
        """Take the id of the next call of ``name`` with these inputs (their digest)."""
        with self._session.lock:
            if not self._open:
                raise closed(self)
            occurrence = self._occurrences.take(name, inputs)
        return action_id(self.action, name, inputs, occurrence)

    def call(
        self, spec: TaskSpec, inputs: Encoded, marks: dict[str, InputMark] | None = None
    ) -> Future[Any]:
        """Ask for a child action."""
        session, name, digest = self._session, spec.name, inputs.digest
        with session.lock:
            if not self._open:
                raise closed(self)
            occurrence = self._occurrences.take(name, digest)
            if inputs.needs:
                self._pass_on(inputs.needs)
        action = action_id(self.action, name, digest, occurrence)
        if self._known is not None and (value := self._claim(action)) is not None:
            return settled_future(self, action, name, value)
        future = make_future(self, action, name)
        with session.lock:
            if self._is_settled(future):
                return future
            self.calls[action] = future
            call = Call(
                self.handle, session.number(spec), action, inputs.data, inputs.needs, inputs.blobs,
                current_group(), changed_context(self), marks,
            )  # fmt: skip
            held = self.gates or (spec.queue and must_ask(spec.queue, session, self._known))
            if held or (inputs.needs and self.gates is not None):
                self.gates = Gates(self.handle, session) if self.gates is None else self.gates
                self.gates.make(call, spec.queue)
            else:
                session.messages.append(call)
            session.opened(self, future)
            self._mind_patience()
        if self._claimed:
            if self._claimed > FEW:
                session.hurry()  # the first new calls of a long replay
            self._claimed = 0
        session.posted()
        return future

    def room(self, action: bytes) -> Future[Any] | None:
        """Return what is settled when a call is made that is held back; None if it is not."""
        with self._session.lock:
            return None if self.gates is None else self.gates.room(action, self)

    def make_patient(self) -> None:
        """Let garbage be looked for less often until all these futures have been dealt with."""
        self._patient = True
        self._session.patience.begin(self.handle)

    def lose_patience(self) -> None:
        """It has gone on to something else, or does not go on here."""
        if self._patient:
            self._patient = False
            self._session.patience.end(self.handle)

    def _mind_patience(self) -> None:
        """A call has been made."""
        outstanding = len(self.calls)
        if outstanding == MANY_CALLS:
            self.make_patient()
        elif outstanding == 1:
            self.lose_patience()

    def _pass_on(self, needs: tuple[bytes, ...]) -> None:
        """Futures are arguments of a call: whoever looks at its failure looks at theirs."""
        for need in needs:
            if need in self.calls:
                self.calls[need].passed_on = True
            else:
                self._failed.pop(need, None)

    def sleep(self, action: bytes, seconds: float) -> Future[None]:
        """Ask for a durable sleep."""
        return self._outside(Sleep(self.handle, action, seconds, current_group()), "durable.sleep")

    def condition(
        self, action: bytes, name: str, inputs: Encoded, timeout: float | None
    ) -> Future[Any]:
        """Ask somebody outside."""
        group, data = current_group(), inputs.data
        message = Ask(self.handle, action, name, data, inputs.blobs, timeout, group)
        return self._outside(message, name)

    def _outside(self, message: Sleep | Ask, name: str) -> Future[Any]:
        value = self._claim(message.id)
        future = make_future(self, message.id, name)
        with self._session.lock:
            if self._is_settled(future, value):
                return future
            self.calls[message.id] = future
            self._session.messages.append(message)
            self._session.opened(self, future)
        self._session.posted()
        return future

    def lookup(self, action: bytes, name: str, *, blocking: bool = False) -> Future[Any]:
        """Ask for a step's recorded outcome."""
        return self._step(Lookup(self.handle, action), name, blocking)

    def record(
        self,
        action: bytes,
        name: str,
        inputs: Encoded,
        outcome: Encoded | Failure,
        started: float,
        ended: float,
        *,
        blocking: bool = False,
    ) -> Future[Any]:
        """Record a step that ran in the caller."""
        value, blobs = (outcome.data, outcome.blobs) if isinstance(outcome, Encoded) else (None, ())
        failure = outcome if isinstance(outcome, Failure) else None
        return self._step(
            Record(
                self.handle, action, name, inputs.data, value, failure, started, ended,
                inputs.blobs, current_group(), blobs,
            ),
            name,
            blocking,
        )  # fmt: skip

    def errand(
        self, action: bytes, name: str, inputs: Encoded, request: Request, *, blocking: bool = False
    ) -> Future[Any]:
        """Ask for a step that only the controller can do."""
        message = Errand(self.handle, action, name, inputs.data, request, current_group())
        return self._step(message, name, blocking)

    def _step(self, message: Lookup | Record | Errand, name: str, blocking: bool) -> Future[Any]:
        make = ThreadFuture if blocking else make_future
        value = self._claim(message.id)
        future = make(self, message.id, name)
        with self._session.lock:
            if self._is_settled(future, value):
                return future
            self.steps[message.id] = future
            self._session.messages.append(message)
        if isinstance(future, ThreadFuture):
            self._session.stand_still(future)
        else:
            self._session.posted()
        return future

    # --- what is known ahead ----------------------------------------------------------------------

    def learn(self, message: Recorded) -> Future[None] | None:
        """Take in recorded values; return whom to tell. Needs the lock."""
        known = self._known
        assert known is not None
        known.add(message.ids, message.values, last=message.last)
        if message.last:
            # From now on no call is made that was among what was told: the controller builds on it.
            self._session.messages.append(MoreRecorded(self.handle))
        news, known.news = known.news, None
        return news

    def _claim(self, action: bytes) -> bytes | None:
        """Return what is recorded of a call or step, if it is known or will be in a moment."""
        known = self._known
        if known is None:
            return None
        value = known.values.pop(action, None)
        if value is None and known.more:
            value = self._read_on(known, action)
        elif known.more and not known.asked and len(known.values) < FEW:
            self._ask(known)
        if value is not None:
            self._claimed += 1
        return value

    def _is_settled(self, future: Future[Any], value: bytes | None = None) -> bool:
        """Whether nobody need be asked, now that nothing more can arrive. Needs the lock."""
        if not self._open:
            raise closed(self)
        if value is None and self._known is not None:
            value = self._known.values.pop(future.action_id, None)
        if value is not None:
            future.settle(value, None)
        return value is not None

    def _ask(self, known: Known) -> None:
        """Have the next values sent."""
        with self._session.lock:
            ask, known.asked = known.more and not known.asked, True
            if ask:
                self._session.messages.append(MoreRecorded(self.handle))
        if ask:
            self._session.post_now()

    def _read_on(self, known: Known, action: bytes) -> bytes | None:
        """Wait for the values that are still to come, until the action's is among them."""
        session = self._session
        while known.more and len(known.values) < MANY and session.may_stand_still():
            self._ask(known)
            with session.lock:
                if action in known.values or not known.more:
                    break
                if not known.asked:
                    continue  # just now some came, without it
                news = known.news = known.news or ThreadFuture(self, b"", "")
            session.stand_still(news)
        return known.values.pop(action, None)

    def close(self, action: bytes, has_failed: bool) -> Future[Any] | None:
        """The outcome of a call or step has arrived: return its future. Needs the lock."""
        future = self.calls.pop(action, None)
        if future is None:
            return self.steps.pop(action, None)
        if has_failed and not future.passed_on:
            self._failed[action] = future.task
        self._session.closed(self, future)
        return future

    def cancel_call(self, action: bytes) -> None:
        """Cancel a child action and everything below it."""
        with self._session.lock:
            future = self.calls.pop(action, None)
            if future is None or not self._open:
                return
            if self.gates is None or not self.gates.cancel(future):
                self._session.messages.append(CancelCall(self.handle, action))
            self._session.closed(self, future)
        self._session.posted()

    def looked_at(self, action: bytes) -> None:
        """The failure of this child has been seen by user code."""
        self._failed.pop(action, None)

    def waiting(
        self, done: Callable[[], bool], action: bytes = b"", *, timed: bool = False
    ) -> AbstractContextManager[None]:
        """A thread waits inside this block, until a child, or any, has made it ``done``."""
        return self._session.waiting(done, action, timed=timed)

    def draw(self) -> int:
        """Return how many derived values this attempt has taken so far, and count one more."""
        with self._session.lock:
            self._draws += 1
            return self._draws - 1
