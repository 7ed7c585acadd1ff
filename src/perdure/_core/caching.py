"""Caching: what it means for an action that its value is kept already, or is being made.

An action of a cached task whose inputs are known has the journal asked before it takes part in
anything else. If a value is kept, that is its outcome; it has no attempt. Otherwise it runs, and
its value is kept with its outcome, in one transaction.

Of identical actions whose task is serialized one runs at a time. The journal gives it a claim to
the key, which lasts as long as the lease of its run: whoever dies, here or in another process,
makes room. The others wait, and ask again when the claim ends. If that is held by this controller
they are told, otherwise they ask from time to time.
"""

from collections.abc import Sequence

from perdure._core.effects import Consult, Effects
from perdure._core.keys import is_overwritten, policy_of
from perdure._core.lifecycle import Lifecycle
from perdure._core.model import InputMark, Outcome
from perdure._core.records import CacheAnswer, CacheRow, ClaimEnd
from perdure._core.state import Action, Run
from perdure._core.transitions import Stage

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5
"""Seconds between two questions about a key that another controller's action has claimed."""


class Caching:
    """Acts on what the journal says of keys."""

    def __init__(self, lifecycle: Lifecycle, effects: Effects) -> None:
        self.lifecycle = lifecycle
        self.effects = effects
        self._holders: dict[bytes, Action] = {}
        self._waiters: dict[bytes, list[Action]] = {}

    def consulted(
        self,
        asked: Consult,
        inputs: dict[str, InputMark],
        key: bytes,
        answer: CacheAnswer,
        *,
        damaged: bool = False,
    ) -> None:
        """The journal's answer.

        Args:
            asked: The question.
            inputs: What the key says of each input.
            key: The key; b"" if it cannot be known.
            answer: What the journal knows of it.
            damaged: A value was there, but its blobs are gone, or not what was stored.
        """
        action = asked.action
        known = action.cache
        assert known is not None
        serialized = bool(key) and policy_of(action).serialize
        granted = serialized and not (answer.entry or answer.held)
        stopped = action.stage is not Stage.CONSULTING
        if granted and (stopped or key in self._holders):
            # Who has lost the lease of a run is granted what it has claimed for it already.
            end = ClaimEnd(run=action.run.key, key=key, number=asked.number)
            self.effects.rows.append(end)
        if stopped:
            return
        known.inputs, known.key = inputs, key
        if answer.entry is not None:
            self._hit(action, answer.entry)
            return
        known.verdict = _verdict(action, answer, damaged=damaged)
        if answer.held or (serialized and key in self._holders):
            self._wait(action)
            return
        if granted:
            known.claim, self._holders[key] = asked.number, action
        self.lifecycle.enter(action)

    def _hit(self, action: Action, entry: CacheRow) -> None:
        known = action.cache
        assert known is not None
        known.verdict, known.origin = "hit", entry.origin
        self.lifecycle.finish(action, Outcome(entry.value, None, entry.blobs))

    def _wait(self, action: Action) -> None:
        """Somebody else makes the value."""
        known = action.cache
        assert known is not None
        holder = self._holders.get(known.key)
        if holder is None:
            known.pause = min(2 * known.pause or FIRST_PAUSE, LONGEST_PAUSE)
            due = self.lifecycle.now + known.pause
            self.lifecycle.later(action, due, self._ask_again, action)
        elif _is_below(action, holder):
            self.lifecycle.enter(action)  # the holder would wait for it for ever
        else:
            self._waiters.setdefault(known.key, []).append(action)

    def _ask_again(self, action: Action) -> None:
        if action.stage is Stage.CONSULTING:
            self.lifecycle.consult(action)

    def committed(self, actions: Sequence[Action]) -> None:
        """These have their outcomes: what they had claimed is free."""
        for action in actions if self._holders else ():
            if action.cache is not None and self._holders.get(action.cache.key) is action:
                self._let_go(action.cache.key)

    def dropped(self, run: Run) -> None:
        """The run is no longer driven here: its claims end with its lease."""
        for key in [key for key, holder in self._holders.items() if holder.run is run]:
            self._let_go(key)

    def _let_go(self, key: bytes) -> None:
        del self._holders[key]
        for waiter in self._waiters.pop(key, ()):
            self._ask_again(waiter)

    @property
    def holders(self) -> dict[bytes, Action]:
        """Actions that have claimed their keys."""
        return self._holders


def _verdict(action: Action, answer: CacheAnswer, *, damaged: bool) -> str:
    """Return why there is no value; see :class:`~perdure._core.model.CacheNote`."""
    known = action.cache
    assert known is not None
    if not known.key:
        return "unknowable"
    if is_overwritten(action):
        return "overwrite"
    if damaged:
        return "damaged"
    return "expired" if answer.expired else "miss"


def _is_below(action: Action, other: Action) -> bool:
    above = action.parent
    while above is not None and above is not other:
        above = above.parent
    return above is other
