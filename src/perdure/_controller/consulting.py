"""Whether values of cached tasks are kept already: what lies between question and answer.

Digests of inputs that were futures, and a look at the blobs of a value that was found, may take a
while: they are done on a thread of their own, so that commits do not wait for them. Most questions
need neither, and go to the scribe at once.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from perdure._controller.scribe import Scribe
from perdure._core.effects import Consult
from perdure._core.keys import key_of, policy_of
from perdure._core.model import InputMark
from perdure._core.records import CacheAnswer, CacheQuery, Claim
from perdure._ports import Journal, Values

NOTHING = CacheAnswer()


class Question(NamedTuple):
    """A question of the core's, in the journal's terms; ``query`` is None if it has no key."""

    asked: Consult
    inputs: dict[str, InputMark]
    query: CacheQuery | None


@dataclass(slots=True)
class Reply:
    """What is known now of an action's key; see :meth:`Machine.consulted`."""

    asked: Consult
    inputs: dict[str, InputMark]
    key: bytes
    answer: CacheAnswer = NOTHING
    damaged: bool = False


class Consulting:
    """Finds kept values.

    Args:
        journal: Where they are.
        values: Knows about encoded values.
        scribe: Does everything that concerns the journal.
        is_alive: Tells whether the controller of that name still lives.
    """

    def __init__(
        self, journal: Journal, values: Values, scribe: Scribe, is_alive: Callable[[str], bool]
    ) -> None:
        self._journal = journal
        self._values = values
        self._scribe = scribe
        self._is_alive = is_alive

    async def find(self, asked: list[Consult]) -> list[Reply]:
        """Answer the questions, in their order.

        Raises:
            StorageError: The journal cannot be read.
        """
        if any(each.action.cache.inputs is None for each in asked):  # type: ignore[union-attr]
            questions = await asyncio.to_thread(self._questions, asked)
        else:
            questions = self._questions(asked)
        replies = await self._ask(questions)
        if any(reply.answer.entry and reply.answer.entry.blobs for reply in replies):
            damaged = await asyncio.to_thread(self._damaged, replies)
            if damaged:
                await self._ask_anew(questions, replies, damaged)
        return replies

    def _questions(self, asked: list[Consult]) -> list[Question]:
        return [self._question(each) for each in asked]

    def _question(self, asked: Consult) -> Question:
        action, run = asked.action, asked.action.run
        policy = policy_of(action)
        inputs = action.cache.inputs if action.cache else None
        if inputs is None:
            inputs = self._values.marks(action.inputs, action.values or {}, policy.ignored)
        if inputs is None:
            return Question(asked, {}, None)
        claim = Claim(run.key, run.epoch, asked.number) if policy.serialize else None
        return Question(asked, inputs, CacheQuery(key_of(policy, inputs), asked.since, claim))

    async def _ask(self, questions: list[Question]) -> list[Reply]:
        queries = [each.query for each in questions if each.query is not None]
        answers = iter(await self._scribe.call(self._journal.cached, queries, self._is_alive))
        return [
            Reply(asked, inputs, b"")
            if query is None
            else Reply(asked, inputs, query.key, next(answers))
            for asked, inputs, query in questions
        ]

    def _damaged(self, replies: list[Reply]) -> list[int]:
        """Return the places of values that are not what was stored any more."""
        return [
            place
            for place, reply in enumerate(replies)
            if reply.answer.entry and not self._values.are_whole(reply.answer.entry.blobs)
        ]

    async def _ask_anew(
        self, questions: list[Question], replies: list[Reply], damaged: list[int]
    ) -> None:
        """Ask who makes those values again: what was kept so far does not count."""
        again = []
        for place in damaged:
            asked, inputs, query = questions[place]
            entry = replies[place].answer.entry
            assert query is not None
            assert entry is not None
            later = math.nextafter(entry.created, math.inf)
            again.append(Question(asked, inputs, msgspec.structs.replace(query, since=later)))
        for place, reply in zip(damaged, await self._ask(again), strict=True):
            reply.damaged = True
            replies[place] = reply
