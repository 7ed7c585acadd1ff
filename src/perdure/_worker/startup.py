"""What an environment wants done in each of its workers before the first attempt."""

import asyncio
import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from perdure import _serde
from perdure._core.model import Failure
from perdure._secrets import masking
from perdure._wire.framing import encode
from perdure._wire.messages import StartedUp
from perdure._worker.endings import OWN_CODE, drop_own_frames
from perdure._worker.loader import load_hook

if TYPE_CHECKING:
    from perdure._worker.main import Link
    from perdure._worker.session import Session


def start_up(session: "Session", link: "Link") -> bool:
    """Call the start-up hook, if there is one; return whether attempts may follow."""
    loader = link.welcome.startup
    if loader is None:
        return True
    with _telling(session, link) as failures:
        result = load_hook(loader, link.welcome.bundle)()
        session.state = asyncio.run(result) if inspect.iscoroutine(result) else result
    return not failures


async def start_up_on_loop(session: "Session", link: "Link") -> bool:
    """Do the same on a running event loop: what an ``async def`` hook makes belongs to it."""
    loader = link.welcome.startup
    if loader is None:
        return True
    with _telling(session, link) as failures:
        result = load_hook(loader, link.welcome.bundle)()
        session.state = await result if inspect.isawaitable(result) else result
    return not failures


@contextmanager
def _telling(session: "Session", link: "Link") -> Iterator[list[Failure]]:
    """Tell the controller how long it took, and what it failed with."""
    started = time.perf_counter()
    failures: list[Failure] = []
    try:
        yield failures
    except BaseException as error:  # whatever it is, the controller has to know
        drop_own_frames(error)
        failure = _serde.dump_error(error, session.blobs, retryable=False)
        mask = masking.installed()
        failures.append(failure if mask is None else mask.failure(failure))
    session.surroundings.restore()
    seconds = time.perf_counter() - started
    link.sock.sendall(encode([StartedUp(seconds, failures[0] if failures else None)]))


OWN_CODE.update((start_up.__code__, start_up_on_loop.__code__))
