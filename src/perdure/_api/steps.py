"""Journaled steps: code that runs in the caller's process, whose outcome is recorded.

A step is known like a child action: by its parent, its name, the digest of its inputs, and how
often the same was done before. Only an attempt that may find recorded outcomes asks for them; any
other runs the step straight away. Nobody sees the outcome before it is committed.
"""

import time
from collections.abc import Callable
from typing import Any

from perdure import _serde
from perdure._api.future import Future
from perdure._api.scope import Scope
from perdure._core.artifacts import Request
from perdure._core.model import Failure
from perdure._secrets import masking
from perdure.errors import SerializationError


class Step:
    """One execution of a step within an attempt.

    Inside its ``with`` block it is underway. With ``blocking`` the calling thread waits for the
    journal itself, which takes about as long as one write to disk. On an event loop that is as good
    as any short computation.
    """

    def __init__(
        self, scope: Scope, name: str, inputs: dict[str, Any], *, blocking: bool = False
    ) -> None:
        self.scope = scope
        self._blocking = blocking
        self._name = name
        try:
            self._inputs = _serde.dumps(inputs, scope.blobs)
        except SerializationError as error:
            error.task = error.task or name
            raise
        self._action = scope.next_id(name, self._inputs.digest)
        self._started = time.time()

    def lookup(self) -> Future[Any] | None:
        """Ask for the recorded outcome; None if there cannot be one."""
        if not self.scope.replay:
            return None
        return self.scope.lookup(self._action, self._name, blocking=self._blocking)

    def __enter__(self) -> None:
        """Take the time: nothing was recorded, the step starts now."""
        self.scope.underway.add(self)
        self._started = time.time()

    def __exit__(self, *error: object) -> None:
        self.scope.underway.discard(self)

    def request(self, request: Request) -> Future[Any]:
        """Have the controller do it; the future is done once the outcome is committed."""
        masking.refuse(f"what {self._name} is given", self._inputs.data)
        return self.scope.errand(
            self._action, self._name, self._inputs, request, blocking=self._blocking
        )

    def succeeded(self, value: Any) -> Future[Any]:
        """Record the value; the future is done once it is committed."""
        try:
            outcome = _serde.dumps(value, self.scope.blobs)
        except SerializationError as error:
            error.task = error.task or self._name
            raise
        return self._record(outcome)

    def failed(self, error: Exception) -> Future[Any]:
        """Record the error; the future is done once it is committed."""
        return self._record(_serde.dump_error(error, self.scope.blobs, retryable=True))

    def _record(self, outcome: _serde.Encoded | Failure) -> Future[Any]:
        if (mask := masking.installed()) is not None:
            mask.refuse(f"an argument of {self._name}", self._inputs.data)
            if isinstance(outcome, Failure):
                outcome = mask.failure(outcome)
            else:
                mask.refuse(f"the value of {self._name}", outcome.data)
        return self.scope.record(
            self._action,
            self._name,
            self._inputs,
            outcome,
            self._started,
            time.time(),
            blocking=self._blocking,
        )


def run_step(step: Step, function: Callable[[], Any]) -> Any:
    """Return the recorded outcome of ``step``, or run and record it; blocks."""
    found = step.lookup()
    if found is not None and settled(found):
        return found.result()
    try:
        with step:
            value = function()
    except Exception as error:
        step.failed(error).exception()
        raise
    step.succeeded(value).exception()
    return value


async def run_step_aio(step: Step, function: Callable[[], Any]) -> Any:
    """Do the same for a coroutine function."""
    found = step.lookup()
    if found is not None and await settled_aio(found):
        return found.result()
    try:
        with step:
            value = await function()
    except Exception as error:
        await committed(step.failed(error))
        raise
    await committed(step.succeeded(value))
    return value


def settled(found: Future[Any]) -> bool:
    """Wait for the answer to a lookup; return whether an outcome is recorded."""
    found.exception()
    return not found.absent


async def settled_aio(found: Future[Any]) -> bool:
    """Do the same on an event loop."""
    await committed(found)
    return not found.absent


async def committed(future: Future[Any]) -> None:
    """Wait for a step's future without raising what it holds."""
    try:
        await future
    except Exception:
        if future.cancelled():
            raise
