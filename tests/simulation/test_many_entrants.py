"""Runs that wait for a queue, in the real controller; workers are played, as for the sleepers."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure._controller.answering import answer
from perdure._core import queues
from perdure._core.ids import root_id
from perdure._core.model import Phase, RunOptions
from perdure._core.reasons import NoSlot
from perdure._core.records import RunRow
from perdure._core.sharing import QueueLimits
from perdure._pending import Pending
from perdure._wire.requests import Explained, Reply, Why
from perdure.errors import LeaseLostError, StorageError
from simulation.test_many_sleepers import HOUR, SLEEPER, Sleepers, results


class Entrants(Sleepers):
    """A controller whose runs have a queue that admits one at a time; each takes an hour."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(home, monkeypatch)
        monkeypatch.setattr(queues, "HEAD", 0)
        self.journal.queues.declare([QueueLimits("q", concurrency=1)], self.clock.now)
        self.ends: dict[str, Pending[RunRow]] = {}

    async def enter(self, *names: str) -> None:
        """Start runs, of which only the first has room; return once the others are asleep."""
        await self.controller.start()
        for name in names:
            options = RunOptions(queue="q", priority=int(name == "urgent"))
            row = RunRow(name=name, spec=SLEEPER, created=self.clock.now)
            row.options = msgspec.msgpack.encode(options)
            await self.controller.submit(row)
            end = self.controller.ends.of(name)
            assert end is not None
            self.ends[name] = end
        await self.until(lambda: self.has_begun(names[0]))
        asleep = len(names) - 1 - queues.HEAD
        await self.until(lambda: len(self.controller.dormitory) == asleep, step=1.0)

    async def until(self, condition: Callable[[], bool], step: float = 0.0) -> None:
        """Let time pass, and the controller see to what is due."""
        for _ in range(3_000):
            if condition():
                return
            self.clock.now += step
            with self.controller.batch():
                self.controller.machine.parking.look()
            await asyncio.sleep(0.001)
        raise AssertionError("it does not come to pass")

    @property
    def asleep(self) -> list[str]:
        return [name for name in self.ends if self.controller.dormitory.find(name) is not None]

    def phase(self, name: str) -> Phase:
        row = self.journal.load_run(name)
        assert row is not None
        return row.phase

    def has_begun(self, name: str) -> bool:
        return self.phase(name) in (Phase.RUNNING, Phase.WAITING)

    async def ended(self, name: str) -> Phase:
        await self.until(lambda: self.ends[name].is_done, step=HOUR / 20)
        return self.ends[name].result().phase


def played(scenario: Coroutine[Any, Any, None], entrants: Entrants) -> None:
    async def play() -> None:
        try:
            await scenario
        finally:
            await entrants.controller.stop()

    asyncio.run(play())


@pytest.fixture
def entrants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entrants:
    return Entrants(tmp_path, monkeypatch)


def test_runs_that_wait_for_a_queue_are_taken_up_when_it_is_their_turn(entrants: Entrants) -> None:
    async def scenario() -> None:
        await entrants.enter("one", "two", "three", "urgent")
        assert {entrants.phase(name) for name in ("two", "three", "urgent")} == {Phase.QUEUED}
        for name, following in (("one", "urgent"), ("urgent", "two"), ("two", "three")):
            assert await entrants.ended(name) is Phase.SUCCEEDED
            await entrants.until(lambda name=following: entrants.has_begun(name))
            others = [each for each, end in entrants.ends.items() if not end.is_done]
            assert [*filter(entrants.has_begun, others)] == [following]
        assert await entrants.ended("three") is Phase.SUCCEEDED
        assert entrants.engine.counts["attempts"] == 8, "before its nap and after it, each of them"

    played(scenario(), entrants)


def test_those_that_are_next_are_taken_up_ahead_of_their_turn(
    entrants: Entrants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "HEAD", 1)

    async def scenario() -> None:
        names = ["one", "two", "three", "four", "five"]
        await entrants.enter(*names)
        for place, name in enumerate(names):
            assert await entrants.ended(name) is Phase.SUCCEEDED
            asleep = names[place + 3 :]
            await entrants.until(lambda asleep=asleep: entrants.asleep == asleep, step=1.0)
        assert entrants.engine.counts["attempts"] == 10, "before its nap and after it, each of them"

    played(scenario(), entrants)


def test_more_begin_at_once_when_the_queue_has_more_room(entrants: Entrants) -> None:
    async def scenario() -> None:
        await entrants.enter("one", "two", "three")
        entrants.journal.queues.declare([QueueLimits("q", concurrency=3)], entrants.clock.now)
        for name in ("two", "three"):
            await entrants.until(lambda name=name: entrants.has_begun(name), step=0.1)
        assert entrants.has_begun("one")

    played(scenario(), entrants)


def test_one_that_is_aborted_in_its_sleep_is_none_of_the_queue(entrants: Entrants) -> None:
    async def scenario() -> None:
        await entrants.enter("one", "two", "three")
        controller = entrants.controller
        assert controller.abort("two", b"no action of it") == (False, "it has finished already")
        assert controller.abort("two", root_id("two")) == (True, "aborted")
        assert await entrants.ended("two") is Phase.ABORTED
        assert await entrants.ended("one") is Phase.SUCCEEDED
        await entrants.until(lambda: entrants.has_begun("three"))
        row = entrants.journal.load_run("two")
        assert row is not None
        root = entrants.journal.lookup(row.key, [root_id("two")])[root_id("two")]
        assert (root.attempts, root.phase) == (0, Phase.ABORTED)

    played(scenario(), entrants)


def test_p7_one_that_is_asleep_says_how_many_are_before_it(entrants: Entrants) -> None:
    async def scenario() -> None:
        await entrants.enter("one", "two", "three")
        replies: list[Reply] = []
        answer(entrants.controller, Why("three", None), replies.append)
        (reply,) = replies
        assert isinstance(reply, Explained)
        (link,) = reply.chain
        assert (reply.driven, reply.left, link.phase) == (True, 1, Phase.QUEUED)
        assert isinstance(link.reason, NoSlot)
        assert (link.reason.position, link.reason.waiting) == (2, 2)
        assert [holder.run for holder in link.reason.holders] == ["one"]

    played(scenario(), entrants)


def test_one_that_somebody_else_has_taken_over_leaves_its_slot_to_the_next(
    entrants: Entrants, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        await entrants.enter("one", "two", "three")
        row = entrants.journal.load_run("two")
        assert row is not None
        entrants.journal.acquire(row.key, "another", lambda owner: False)
        monkeypatch.setattr(entrants.controller, "_is_alive", lambda owner: True)
        assert await entrants.ended("one") is Phase.SUCCEEDED
        with pytest.raises(LeaseLostError):
            await results([entrants.ends["two"]])
        await entrants.until(lambda: entrants.has_begun("three"))

    played(scenario(), entrants)


def test_nothing_waits_any_more_when_nothing_can_be_recorded(entrants: Entrants) -> None:
    async def scenario() -> None:
        await entrants.enter("one", "two")
        entrants.controller.scribe.mend = lambda: None  # type: ignore[method-assign]
        entrants.controller._cannot_write(StorageError("the disk is full"))
        with pytest.raises(StorageError, match="the disk is full"):
            await results([entrants.ends["two"]])
        queue = entrants.controller.machine.scheduler.queues.get("q")
        assert queue is not None
        assert (queue.waiting, queue.used) == (0, 0)

    played(scenario(), entrants)


def test_those_that_are_asleep_are_resumable_after_a_stop(entrants: Entrants) -> None:
    async def scenario() -> None:
        await entrants.enter("one", "two")

    played(scenario(), entrants)
    assert entrants.ends["two"].result().phase is Phase.INTERRUPTED
    assert entrants.phase("two") is Phase.INTERRUPTED
