r"""Time, chance and sleep that are the same when a task is attempted again: ``perdure.durable``.

``now`` and ``time`` are read once and recorded. ``sleep`` ends at the time that was fixed when it
was first asked for, however often the run is interrupted meanwhile. ``uuid4`` and ``random`` need
no record: they are derived from the action's id and a counter ``n`` of the values drawn so far in
the attempt (8 bytes, big-endian), as the 16-byte BLAKE2b digest of ``kind + b"\0" + id + n``, where
kind is ``uuid4`` or ``random``. ``uuid4`` sets the version bits in it; ``random`` is its first 53
bits divided by 2⁵³. Concurrent code in one action should draw before it forks: the order counts.

Outside any run they are the ordinary thing.
"""

import asyncio
import random as _random
import time as _time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from perdure._api.future import Future, on_loop
from perdure._api.scope import Scope, current
from perdure._api.steps import Step, run_step, run_step_aio
from perdure._core.ids import digest
from perdure._serde import dumps
from perdure.errors import ConfigurationError, SyncTaskCallInAsyncContextError

T = TypeVar("T")

__all__ = ["now", "random", "sleep", "time", "uuid4"]


class Recorded(Generic[T]):
    """A value that is read once and recorded: ``f()`` blocks, ``await f.aio()`` does not."""

    def __init__(self, name: str, doc: str, read: Callable[[], T]) -> None:
        self._name = name
        self._read = read
        self.__doc__ = doc

    def __call__(self) -> T:
        scope = current()
        if scope is None:
            return self._read()
        step = Step(scope, self._name, {}, blocking=True)
        return run_step(step, self._read)  # type: ignore[no-any-return]

    async def aio(self) -> T:
        """Do the same on an event loop."""
        scope = current()
        if scope is None:
            return self._read()
        return await run_step_aio(Step(scope, self._name, {}), self._read_aio)  # type: ignore[no-any-return]

    async def _read_aio(self) -> T:
        return self._read()

    def __repr__(self) -> str:
        return f"<perdure.{self._name}>"


class Sleep:
    """The type of ``perdure.durable.sleep``."""

    def __call__(self, seconds: float) -> None:
        """Sleep; in async code write ``await perdure.durable.sleep.aio(seconds)``.

        Args:
            seconds: Counted from the first time the action asked; not negative.
        """
        _check(seconds)
        scope = current()
        if scope is None:
            _time.sleep(seconds)
            return
        if on_loop():
            raise SyncTaskCallInAsyncContextError(
                "durable.sleep would block the event loop",
                hint="write: await perdure.durable.sleep.aio(...)",
            )
        _asleep(scope, seconds).result()

    async def aio(self, seconds: float) -> None:
        """Do the same on an event loop."""
        _check(seconds)
        scope = current()
        if scope is None:
            await asyncio.sleep(seconds)
        else:
            await _asleep(scope, seconds)

    def __repr__(self) -> str:
        return "<perdure.durable.sleep>"


def _check(seconds: Any) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ConfigurationError(f"cannot sleep for {seconds!r} seconds")


def _asleep(scope: Scope, seconds: float) -> Future[None]:
    inputs = dumps({"seconds": float(seconds)}, scope.blobs)
    return scope.sleep(scope.next_id("durable.sleep", inputs.digest), float(seconds))


now = Recorded(
    "durable.now", "Return the current time, aware, in UTC; recorded.", lambda: datetime.now(UTC)
)
time = Recorded("durable.time", "Return the current time in seconds; recorded.", _time.time)
sleep = Sleep()


def uuid4() -> uuid.UUID:
    """Return a UUID that is the same when the task is attempted again."""
    scope = current()
    return uuid.uuid4() if scope is None else uuid.UUID(bytes=_draw(scope, b"uuid4"), version=4)


def random() -> float:
    """Return a number in [0, 1) that is the same when the task is attempted again."""
    scope = current()
    if scope is None:
        return _random.random()
    return (int.from_bytes(_draw(scope, b"random")[:8], "big") >> 11) / 2**53


def _draw(scope: Scope, kind: bytes) -> bytes:
    return digest(kind + b"\0" + scope.action + scope.draw().to_bytes(8, "big"))
