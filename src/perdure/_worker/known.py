"""What the journal has told of an attempt's calls before it makes them."""

import gc
from collections.abc import Sequence

from perdure._api.future import ThreadFuture
from perdure._core.ids import DIGEST_BYTES

FEW = 4096
"""With fewer left the next are asked for, so that they are here when they are needed."""

MANY = 16384
"""With more left than this a call that is not among them is just made: memory stays flat."""

PATIENCE = 50_000
"""New objects after which garbage is looked for in the midst of a long replay: it makes many
futures, and all of them are in use."""

_usual = gc.get_threshold()


class Known:
    """Recorded values by id, each taken by the call it belongs to.

    Attributes:
        values: Those that are here.
        more: There are more to come.
        asked: They are on their way.
        news: What threads wait for until they are here.
    """

    __slots__ = ("asked", "more", "news", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.more = self.asked = True
        self.news: ThreadFuture[None] | None = None

    def add(self, ids: bytes, values: Sequence[bytes], *, last: bool) -> None:
        """Take in what has arrived."""
        places = range(0, len(ids), DIGEST_BYTES)
        self.values.update(zip([ids[at : at + DIGEST_BYTES] for at in places], values, strict=True))
        self.more, self.asked = not last, False

    def unclaimed(self) -> bytes:
        """Return the ids of those that no call has taken, joined."""
        return b"".join(self.values)


def be_patient() -> None:
    """A long replay goes on: look for garbage less often."""
    global _usual
    now = gc.get_threshold()
    if now[0] and now[0] != PATIENCE:
        _usual = now
        gc.set_threshold(PATIENCE, *now[1:])


def be_as_usual() -> None:
    """It is over."""
    if gc.get_threshold()[0] == PATIENCE:
        gc.set_threshold(*_usual)
