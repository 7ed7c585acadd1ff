"""Orders to workers. They wait in the worker's outbox, in order, until the shell sends them."""

from typing import Any

import msgspec

from perdure._core.model import Outcome
from perdure._core.records import Page


class Start(msgspec.Struct, gc=False):
    """Execute ``attempt`` (a :class:`~perdure._core.state.Attempt`) after those before it."""

    attempt: Any


class Deliver(msgspec.Struct, gc=False):
    """Attempt ``parent`` may see the outcome of its child: it is recorded."""

    parent: int
    id: bytes
    outcome: Outcome


class Tell(msgspec.Struct, gc=False):
    """Attempt ``parent`` may see these outcomes when it makes the calls: they are recorded."""

    parent: int
    page: Page


class Unknown(msgspec.Struct, gc=False):
    """Attempt ``parent`` asked for a step of which nothing is recorded."""

    parent: int
    id: bytes


class Room(msgspec.Struct, gc=False):
    """Attempt ``parent`` may make the call that it holds back.

    ``open`` is the name of its queue if calls in that need not be held back for now, or "".
    """

    parent: int
    id: bytes
    open: str = ""


class Shut(msgspec.Struct, gc=False):
    """Calls in the queue of that name are to be held back again, until there is room."""

    queue: str


class Interrupt(msgspec.Struct, gc=False):
    """Stop the attempt cooperatively."""

    attempt: int
    reason: str


class Park(msgspec.Struct, gc=False):
    """Leave the attempt for good, without its code noticing, if it only waits for its calls."""

    attempt: int


class TakeBack(msgspec.Struct, gc=False):
    """Give back those of the attempts that have not started."""

    attempts: tuple[int, ...]


class Quit(msgspec.Struct, gc=False):
    """End the process; it has nothing to do."""


Order = Start | Deliver | Tell | Unknown | Room | Shut | Interrupt | Park | TakeBack | Quit
