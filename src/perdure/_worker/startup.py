"""What an environment wants done in each of its workers before the first attempt."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from perdure import _serde
from perdure._api.starting import made_by, made_on_loop_by
from perdure._core.model import Failure
from perdure._secrets import masking
from perdure._wire.framing import encode
from perdure._wire.messages import StartedUp
from perdure._worker.endings import OWN_CODE, drop_own_frames
from perdure._worker.loader import load_hook
from perdure.errors import TaskTimeoutError

if TYPE_CHECKING:
    from perdure._worker.main import Link
    from perdure._worker.session import Session


def start_up(session: "Session", link: "Link") -> bool:
    """Call the start-up hook, if there is one; return whether attempts may follow."""
    loader = link.welcome.startup
    if loader is None:
        return True
    with _telling(session, link) as failures:
        session.state = made_by(load_hook(loader, link.welcome.bundle))
    return not failures


async def start_up_on_loop(session: "Session", link: "Link") -> bool:
    """Do the same on a running event loop."""
    loader = link.welcome.startup
    if loader is None:
        return True
    with _telling(session, link) as failures:
        session.state = await made_on_loop_by(load_hook(loader, link.welcome.bundle))
    return not failures


@contextmanager
def _telling(session: "Session", link: "Link") -> Iterator[list[Failure]]:
    """Tell the controller how long it took, and what it failed with."""
    started = time.perf_counter()
    failures: list[Failure] = []
    limit = _Limit(session, link)
    try:
        yield failures
    except BaseException as error:  # whatever it is, the controller has to know
        drop_own_frames(error)
        failures.append(_masked(_serde.dump_error(error, session.blobs, retryable=False)))
    limit.lift()
    session.surroundings.restore()
    seconds = time.perf_counter() - started
    link.sock.sendall(encode([StartedUp(seconds, failures[0] if failures else None)]))


class _Limit:
    """Ends a process whose hook takes too long: there is no other way to interrupt any code."""

    def __init__(self, session: "Session", link: "Link") -> None:
        self._session = session
        self._link = link
        self._ends = threading.Lock()  # taken by whoever is first: the hook, or the limit
        self._seconds = link.welcome.startup_limit
        self._timer = threading.Timer(self._seconds, self._pass)
        self._timer.daemon = True
        self._hook = threading.main_thread().ident
        if self._seconds:
            self._timer.start()

    def lift(self) -> None:
        """The hook has ended in time; if not, there is nothing left to do."""
        self._ends.acquire()
        self._timer.cancel()

    def _pass(self) -> None:
        if not self._ends.acquire(blocking=False):
            return
        error = TaskTimeoutError(
            f"on_start of {self._seconds:g} s passed: the start-up hook took longer",
            hint="raise its limit: @env.on_start(timeout=...); the traceback tells where it was",
        )
        error.limit = "on_start"
        failure = _serde.dump_error(error, self._session.blobs, retryable=False)
        where = traceback.format_stack(sys._current_frames().get(self._hook or 0))  # noqa: SLF001
        failure = msgspec.structs.replace(failure, traceback="".join(where))
        self._link.sock.sendall(encode([StartedUp(self._seconds, _masked(failure))]))
        os._exit(1)


def _masked(failure: Failure) -> Failure:
    mask = masking.installed()
    return failure if mask is None else mask.failure(failure)


OWN_CODE.update(each.__code__ for each in (start_up, start_up_on_loop, made_by, made_on_loop_by))
