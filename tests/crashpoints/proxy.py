"""A journal that lets its controller die at a chosen commit."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from perdure._ports import CacheAnswer, CacheQuery, Journal, Row

Answer = TypeVar("Answer")


class CrashingJournal:
    """The :class:`~perdure._ports.Journal` port around another; counts its commits.

    To claim a key is a commit, too.

    Args:
        journal: The real one.
        at: Number of the commit (from 1) at which the controller dies; 0: it does not.
        written: It dies after the commit, before it hears of it; otherwise before.
        crash: Kills the controller.
    """

    def __init__(self, journal: Journal, at: int = 0, *, written: bool = False) -> None:
        self.journal, self.at, self.written = journal, at, written
        self.crash: Callable[[], None] = lambda: None
        self.commits = 0

    def commit(self, rows: Sequence[Row], epochs: dict[int, int]) -> frozenset[int]:
        """Write, or die instead, or die after it."""
        return self._commit(lambda: self.journal.commit(rows, epochs), frozenset())

    def cached(
        self, queries: Sequence[CacheQuery], is_alive: Callable[[str], bool]
    ) -> list[CacheAnswer]:
        """Likewise, if there are claims to be made."""
        if not any(query.claim for query in queries):
            return self.journal.cached(queries, is_alive)
        lost = [CacheAnswer() for _ in queries]
        return self._commit(lambda: self.journal.cached(queries, is_alive), lost)

    def _commit(self, write: Callable[[], Answer], lost: Answer) -> Answer:
        self.commits += 1
        if self.commits != self.at:
            return write()
        if self.written:
            write()
        self.crash()
        return lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)
