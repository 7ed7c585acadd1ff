"""The journal's memory goes ahead of a replay.

Asking the journal about each call of a replayed attempt costs a round trip a call, which a parent
of a hundred thousand finished children feels. So its worker is told the values of recorded children
before it makes the calls, page by page; it settles those calls itself, and says nothing of them.
What it is not told of (failed, unfinished, large) it calls as ever, and the journal is asked.
"""

from collections.abc import Set
from dataclasses import dataclass, field

from perdure._core.records import Page

OTHERS_LIMIT = 100_000
"""Recorded children without a small value that are kept by id; the pages end before more."""


@dataclass(slots=True, eq=False)
class Recollection:
    """What the worker of one attempt has been told of the recorded children.

    Attributes:
        alone: Nothing but this attempt has added or can add to the recorded children.
        upto: All children with a place up to this one have been told, or are among ``others``.
        told: How many have been told.
        others: Ids of those that were read but not told.
        read: There are no more.
        complete: There are no more, and the worker knows all of them: it calls none that was told.
        asked: The next page is on its way.
        unclaimed: Those that were told and not called, once the attempt has ended.
    """

    alone: bool
    upto: int = 0
    told: int = 0
    others: set[bytes] = field(default_factory=set)
    read: bool = False
    complete: bool = False
    asked: bool = True
    unclaimed: frozenset[bytes] = frozenset()

    def take(self, page: Page) -> Page:
        """Remember the page; return what the worker is to be told."""
        self.asked = False
        if len(self.others) + len(page.others) > OTHERS_LIMIT:
            return Page(ids=b"", values=[], others=[], upto=self.upto, last=True)
        self.upto, self.read = page.upto, page.last
        self.told += len(page.values)
        self.others.update(page.others)
        self.complete = page.last and not self.told
        return page

    def rules_out(self, action: bytes) -> bool:
        """Whether nothing can be recorded of a child that the worker calls."""
        return self.alone and self.complete and action not in self.others

    def claimed(self, action: bytes, seq: int) -> bool:
        """Whether the worker has settled the call of this recorded child itself."""
        return seq <= self.upto and action not in self.others and action not in self.unclaimed

    @property
    def claims(self) -> int:
        """How many calls the worker has settled itself."""
        return self.told - len(self.unclaimed)

    def is_exhausted(self, called: Set[bytes]) -> bool:
        """Whether all recorded children were called again, so that nobody need ask."""
        return self.alone and self.complete and not self.unclaimed and self.others <= called
