"""A journal that lets its controller die at a chosen commit."""

from collections.abc import Callable, Sequence
from typing import Any

from perdure._ports import Journal, Row


class CrashingJournal:
    """The :class:`~perdure._ports.Journal` port around another; counts its commits.

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
        self.commits += 1
        if self.commits != self.at:
            return self.journal.commit(rows, epochs)
        if self.written:
            self.journal.commit(rows, epochs)
        self.crash()
        return frozenset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)
