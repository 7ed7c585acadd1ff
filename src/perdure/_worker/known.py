"""What the journal has told of an attempt's calls before it makes them."""

from collections.abc import Sequence

from perdure._api.future import ThreadFuture
from perdure._core.ids import DIGEST_BYTES

FEW = 4096
"""With fewer left the next are asked for, so that they are here when they are needed."""

MANY = 16384
"""With more left than this a call that is not among them is just made: memory stays flat."""


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
