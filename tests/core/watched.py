"""Actions and attempts that tell whether they are still there: the real ones do not."""

import weakref
from typing import Any

import pytest

from perdure._core import machine, recall, scheduling
from perdure._core.state import Action, Attempt


class WatchedAction(Action, eq=False, gc=True, weakref=True):
    """An action that can be referred to weakly."""


class WatchedAttempt(Attempt, eq=False, gc=True, weakref=True):
    """Likewise an attempt."""


class Watch:
    """Has the core make such ones, and counts them.

    Attributes:
        made: How many there have ever been.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self._seen: dict[type, weakref.WeakSet[Any]] = {}
        monkeypatch.setattr(machine, "Action", self._maker(Action, WatchedAction))
        monkeypatch.setattr(recall, "Action", self._maker(Action, WatchedAction))
        monkeypatch.setattr(scheduling, "Attempt", self._maker(Attempt, WatchedAttempt))

    def alive(self, kind: type) -> int:
        """Return how many of the kind there are now."""
        return len(self._seen[kind])

    def _maker(self, kind: type, watched: Any) -> Any:
        seen = self._seen.setdefault(kind, weakref.WeakSet())

        def make(*args: Any, **kwargs: Any) -> Any:
            self.made += 1
            made = watched(*args, **kwargs)
            seen.add(made)
            return made

        return make
