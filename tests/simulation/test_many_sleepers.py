"""Ten thousand runs that sleep for an hour, in one controller: the real one, but for its workers.

Workers are played in this process, on the other end of real sessions. The clock is the test's.
"""

import asyncio
import os
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from perdure._controller import controller as controller_module
from perdure._controller import dormancy
from perdure._controller.answering import answer
from perdure._controller.controller import Controller
from perdure._controller.scribe import Scribe
from perdure._controller.session import Session
from perdure._core.ids import action_id, digest, root_id
from perdure._core.model import Capacity, Loader, LowMemory, Phase, TaskSpec
from perdure._core.reasons import Asleep
from perdure._core.records import Row, RunRow
from perdure._core.rows import NOTHING
from perdure._core.state import Action
from perdure._journal.memory import MemoryJournal
from perdure._pending import Pending
from perdure._ports import WorkerDelay, WorkerExit, WorkerRequest
from perdure._wire import messages as wire
from perdure._wire.framing import FrameReader, decode_to_worker, encode
from perdure._wire.requests import Explained, Reply, Why
from perdure.config import Config
from perdure.errors import LeaseLostError, StorageError

HOUR = 3600.0
MANY = 1_000 if "PERDURE_SEEDS" in os.environ else 10_000  # then they are there elsewhere
SLEEPER = TaskSpec(name="sleeper", loader=Loader("module"), is_async=True)


class Clock:
    """Wall-clock time that goes on only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        for module in (controller_module, dormancy):
            shown = SimpleNamespace(time=lambda: self.now, time_ns=lambda: int(self.now * 1e9))
            monkeypatch.setattr(module, "time", shown)


class InlineScribe(Scribe):
    """Writes at once, on the loop's thread; tells of it a turn later, as the real one does."""

    def __init__(self, journal: Any, loop: Any, on_commit: Any, on_error: Any) -> None:
        self._journal, self._loop, self._on_commit = journal, loop, on_commit
        self._asked = 0

    def commit(self, rows: list[Row], finished: list[Action], epochs: dict[int, int]) -> None:
        self._asked += 1
        stale = self._journal.commit(rows, epochs)
        self._loop.call_soon(self._told, 1, self._on_commit, (finished, stale))

    def call(self, function: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._loop.call_soon(answer.set_result, function(*args))
        return answer

    def close(self) -> None:
        """There is no thread."""


class Peer:
    """A worker, and the transport of its session. Each of its attempts sleeps for an hour."""

    def __init__(self, engine: "Engine", number: int) -> None:
        self.engine, self.number = engine, number
        self.frames = FrameReader()
        self.naps: dict[int, bytes] = {}
        self.session = Session(engine.controller)
        self.session.connection_made(self)  # type: ignore[arg-type]  # as much of one as is used

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing has to be closed."""

    def write(self, frame: bytes) -> None:
        asyncio.get_running_loop().call_soon(self.receive, bytes(frame))

    def say(self, *messages: wire.Message) -> None:
        self.session.data_received(bytes(encode([*messages])))

    def receive(self, frame: bytes) -> None:
        for body in self.frames.feed(frame):
            for message in decode_to_worker(body):
                self.take(message)

    def take(self, message: Any) -> None:
        match message:
            case wire.Assign():
                self.engine.counts["attempts"] += 1
                nap = action_id(message.id, "durable.sleep", digest(b"nap"), 0)
                self.naps[message.attempt] = nap
                if not message.recorded:
                    self.say(wire.Sleep(message.attempt, nap, HOUR))
            case wire.Recorded():
                if self.naps[message.parent] in message.ids:
                    self.end(message.parent)
                else:
                    self.say(wire.Sleep(message.parent, self.naps[message.parent], HOUR))
            case wire.Resolved():
                self.end(message.parent)
            case wire.Leave():
                self.engine.counts["parked"] += 1
                del self.naps[message.attempt]
                self.say(wire.Left(message.attempt))
            case wire.Stop():
                self.engine.exited(WorkerExit(worker=self.number, exit_code=0))

    def end(self, attempt: int) -> None:
        del self.naps[attempt]
        self.engine.most = max(self.engine.most, len(self.engine.controller.runs))
        self.say(wire.Done(attempt, NOTHING.value, None, 0.001, self.engine.clock.now))


class Engine:
    """Places workers in this process."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.counts: Counter[str] = Counter()
        self.most = 0

    async def start(
        self,
        address: str,
        token: str,
        on_exit: Callable[[WorkerExit], None],
        on_low_memory: Callable[[LowMemory], None],
        on_delay: Callable[[WorkerDelay], None] = lambda delay: None,
    ) -> None:
        self.token, self.exited = token, on_exit

    def spawn(self, request: WorkerRequest) -> None:
        peer = Peer(self, request.worker)
        hello = wire.Hello(wire.PROTOCOL, self.token, request.worker, 0)
        asyncio.get_running_loop().call_soon(peer.say, hello)

    def kill(self, worker: int) -> None:
        self.exited(WorkerExit(worker=worker, signal=9))

    def limit(self, worker: int, memory: int) -> None:
        """Nothing is used here."""

    def log_path(self, worker: int) -> str:
        return ""

    async def stop(self) -> None:
        """Nobody is left."""

    controller: Controller


class Sleepers:
    """A controller with a number of runs."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock(monkeypatch)
        monkeypatch.setattr(controller_module, "Scribe", InlineScribe)
        self.engine = Engine(self.clock)
        self.journal = MemoryJournal()
        config = Config(home=home, park_after=10.0)
        warnings: list[str] = []
        self.controller = self.engine.controller = Controller(
            config,
            self.journal,
            None,  # type: ignore[arg-type]  # nothing is kept for other runs
            self.engine,  # type: ignore[arg-type]  # it is one
            Capacity(cpu=2.0, memory=1 << 30),
            warnings.append,
        )

    async def start(self, count: int) -> "list[Pending[RunRow]]":
        """Start runs; return once all of them sleep."""
        first, ends = len(self.controller.dormitory), []
        for n in range(first, first + count):
            row = RunRow(name=f"sleeper-{n}", spec=SLEEPER, created=self.clock.now)
            await self.controller.submit(row)
            end = self.controller.ends.of(row.name)
            assert end is not None
            ends.append(end)
        while self.controller.runs:
            await asyncio.sleep(0.001)
        return ends

    def wake(self) -> None:
        """An hour passes."""
        self.clock.now += HOUR
        self.controller.dormitory.look()


async def results(ends: "list[Pending[RunRow]]") -> list[RunRow]:
    for end in ends:
        while not end.is_done:
            await asyncio.sleep(0.001)
    return [end.result() for end in ends]


def test_ten_thousand_runs_sleep_for_an_hour_in_one_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        sleepers = Sleepers(tmp_path, monkeypatch)
        controller, engine = sleepers.controller, sleepers.engine
        await controller.start()
        ends = await sleepers.start(MANY)
        machine = controller.machine
        assert len(controller.dormitory) == MANY
        assert engine.counts == {"attempts": MANY, "parked": MANY}
        assert not machine.runs
        assert not machine.scheduler.attempts
        assert not any(end.is_done for end in ends)
        sleepers.wake()
        assert {row.phase for row in await results(ends)} == {Phase.SUCCEEDED}
        assert engine.counts["attempts"] == 2 * MANY, "each of them once again, and no more"
        assert engine.most < 1000, "a crowd that wakes up is taken up piece by piece"
        assert len(controller.dormitory) == 0
        await controller.stop()

    asyncio.run(scenario())


def test_a_run_that_sleeps_takes_less_than_a_kilobyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 1000

    async def scenario() -> float:
        sleepers = Sleepers(tmp_path, monkeypatch)
        await sleepers.controller.start()
        await sleepers.start(100)  # what comes once and stays
        tracemalloc.start()
        ends = await sleepers.start(count)
        taken = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(True, path) for path in ("*/perdure/*", "*/asyncio/*")]
            + [tracemalloc.Filter(False, "*/_core/rows.py")]  # those are in the journal
            + [tracemalloc.Filter(False, "*/_journal/*")]
        )
        tracemalloc.stop()
        assert len(ends) == count
        await sleepers.controller.stop()
        return sum(stat.size for stat in taken.statistics("filename")) / count

    taken = asyncio.run(scenario())
    assert taken < 700, taken


def test_memory_is_given_back_after_a_crowd_has_fallen_asleep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relaxed: list[str] = []
    monkeypatch.setattr(dormancy, "CROWD", 3)
    monkeypatch.setattr(MemoryJournal, "relax", lambda journal: relaxed.append("relaxed"))

    async def scenario() -> None:
        sleepers = Sleepers(tmp_path, monkeypatch)
        await sleepers.controller.start()
        for count, expected in ((2, 0), (1, 1), (1, 1)):
            await sleepers.start(count)
            sleepers.controller.dormitory.look()
            assert len(relaxed) == expected
        await sleepers.controller.stop()

    asyncio.run(scenario())


def test_runs_that_sleep_are_resumable_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        sleepers = Sleepers(tmp_path, monkeypatch)
        await sleepers.controller.start()
        ends = await sleepers.start(3)
        await sleepers.controller.stop()
        assert {row.phase for row in await results(ends)} == {Phase.INTERRUPTED}
        rows = [sleepers.journal.load_run(f"sleeper-{n}") for n in range(3)]
        assert {row.phase for row in rows if row} == {Phase.INTERRUPTED}

    asyncio.run(scenario())


def test_a_run_that_sleeps_can_be_driven_again_and_aborted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        sleepers = Sleepers(tmp_path, monkeypatch)
        controller = sleepers.controller
        await controller.start()
        first, second, _ = await sleepers.start(3)
        await controller.drive("sleeper-0")
        assert controller.ends.of("sleeper-0") is first
        assert controller.abort("sleeper-1", None) == (True, "aborted")
        assert [row.phase for row in await results([second])] == [Phase.ABORTED]
        root_nap = action_id(root_id("sleeper-0"), "durable.sleep", digest(b"nap"), 0)
        assert controller.abort("sleeper-0", root_nap) == (True, "aborted")
        (row,) = await results([first])
        assert row.phase is Phase.SUCCEEDED  # it takes any outcome of its sleep
        await controller.stop()

    asyncio.run(scenario())


def test_p7_a_run_that_sleeps_says_until_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        sleepers = Sleepers(tmp_path, monkeypatch)
        await sleepers.controller.start()
        await sleepers.start(1)
        replies: list[Reply] = []
        answer(sleepers.controller, Why("sleeper-0", None), replies.append)
        (reply,) = replies
        assert isinstance(reply, Explained)
        (link,) = reply.chain
        assert (reply.driven, reply.left, link.action.task) == (True, 2, "sleeper")
        assert link.reason == Asleep(until=sleepers.clock.now + HOUR)
        await sleepers.controller.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [StorageError("it was full"), ValueError("not to be read")])
def test_a_run_that_cannot_be_taken_up_can_be_resumed_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def scenario() -> None:
        sleepers = Sleepers(tmp_path, monkeypatch)
        await sleepers.controller.start()
        first, second = await sleepers.start(2)
        load = sleepers.journal.load_run

        def fail_once(name: str) -> Any:
            monkeypatch.setattr(sleepers.journal, "load_run", load)
            raise error

        monkeypatch.setattr(sleepers.journal, "load_run", fail_once)
        sleepers.wake()
        with pytest.raises(type(error)):
            await results([first])
        assert [row.phase for row in await results([second])] == [Phase.SUCCEEDED]
        row = load("sleeper-0")
        assert row is not None
        assert not row.owner
        await sleepers.controller.stop()

    asyncio.run(scenario())


def test_a_run_that_somebody_else_has_taken_over_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        sleepers = Sleepers(tmp_path, monkeypatch)
        await sleepers.controller.start()
        monkeypatch.setattr(sleepers.controller, "_is_alive", lambda owner: True)
        (end,) = await sleepers.start(1)
        row = sleepers.journal.load_run("sleeper-0")
        assert row is not None
        sleepers.journal.acquire(row.key, "another", lambda owner: False)
        sleepers.wake()
        with pytest.raises(LeaseLostError):
            await results([end])
        assert len(sleepers.controller.dormitory) == 0
        await sleepers.controller.stop()

    asyncio.run(scenario())
