"""Dormant runs: one in which nothing happens before a known moment is forgotten until then.

An answer that somebody gives to what a run has asked ends that early. One that waits to be admitted
by a queue keeps its place there, and is taken up when only a few are before it, or none.

Ten thousand runs that sleep for a month must cost next to nothing. What they are is in the journal;
kept here are their lease and the moment. At that moment a run is taken up again as it would be by
another controller, under a new lease epoch.

Runs whose moment comes together are taken up one after the other, and only as fast as workers get
through what is ready: a crowd that wakes up must neither flood the memory nor the journal.
"""

import asyncio
import contextlib
import heapq
import math
import time
from typing import TYPE_CHECKING

import msgspec

from perdure._controller.driven import lost, of_run
from perdure._controller.thrift import CROWD, give_back
from perdure._core.ids import root_id
from perdure._core.lines import no_slot, waiting_to_enter
from perdure._core.machine import Machine
from perdure._core.model import Loader, Phase, TaskSpec
from perdure._core.parking import first_moment, is_dormant, keep_place
from perdure._core.queues import Entrant
from perdure._core.reasons import Asleep, Brief, JournalAsked, Link, Reason, Unanswered
from perdure._core.records import RunEnd, RunRow
from perdure._core.state import Run
from perdure.errors import PerdureError, RunInUseError

if TYPE_CHECKING:
    from perdure._controller.controller import Controller

ENOUGH_READY = 64
"""Ready actions beyond which no more runs are taken up."""

PAUSE_SECONDS = 0.02
SUMMONED = 0.0
"""When something happens in a run that its queue asks for: it was due long ago."""

LONGEST_TIMER = 3600.0
_NOBODY = TaskSpec(name="", loader=Loader("module"))


class Dormant(msgspec.Struct, order=True, gc=False):
    """What is kept of a run: one small object, of no interest to the garbage collector.

    Attributes:
        wake_at: When something happens in it; those come first that wake up first.
        key: Its number in the journal.
        name: Its name.
        task: Name of its root task.
        epoch: Lease epoch under which it is held.
        left: How many of its actions have no outcome.
        strict: As when it was driven last; likewise ``mixed``.
        origin: Id of its root action if it has that from another run.
        entrant: Its place in the queue that is to admit it, if there is one.
    """

    wake_at: float
    key: int
    name: str
    task: str
    epoch: int
    left: int
    strict: bool
    mixed: bool
    origin: bytes
    entrant: Entrant | None

    @classmethod
    def of(cls, run: Run) -> "Dormant":
        """Return what is kept of a run in which nothing happens for now."""
        root = run.actions[run.root]
        return cls(
            wake_at=first_moment(run),
            key=run.key,
            name=run.name,
            task=root.name,
            epoch=run.epoch,
            left=len(run.actions),
            strict=run.strict,
            mixed=run.mixed,
            origin=b"" if run.root == root_id(run.name) else run.root,
            entrant=keep_place(run),
        )

    @property
    def root(self) -> bytes:
        """Id of its root action."""
        return self.origin or root_id(self.name)

    def explained(self, machine: Machine) -> Link:
        """Return what the run waits for."""
        return Link(
            action=Brief(run=self.name, number=1, id=self.root.hex(), task=self.task),
            phase=Phase.WAITING if self.entrant is None else Phase.QUEUED,
            attempt=0,
            reason=self._reason(machine),
        )

    def _reason(self, machine: Machine) -> Reason:
        if self.entrant is not None:
            place = waiting_to_enter(machine, self.entrant)
            return JournalAsked() if place is None else no_slot(machine, place)
        return Unanswered(until=None) if self.wake_at == math.inf else Asleep(until=self.wake_at)

    def abandon(self) -> None:
        """It is not driven here any more."""
        if self.entrant is not None:
            self.entrant.queue.abandon(self.entrant)


class Dormitory:
    """The dormant runs of a controller.

    Args:
        controller: Whose runs they are.
    """

    def __init__(self, controller: "Controller") -> None:
        self._controller = controller
        self._runs: dict[str, Dormant] = {}
        self._moments: list[Dormant] = []
        self._kept_awake: set[int] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._rousing: asyncio.Task[None] | None = None
        self._stopped = False
        self._admitted = 0

    def __len__(self) -> int:
        return len(self._runs)

    def find(self, name: str) -> Dormant | None:
        """Return the dormant run of that name."""
        return self._runs.get(name)

    # --- falling asleep ---------------------------------------------------------------------------

    def admit(self, runs: list[Run]) -> None:
        """Forget those of the runs in which still nothing happens; their rows are on the way."""
        controller = self._controller
        for run in runs:
            driven = controller.runs.get(run.key)
            if driven is None or driven.run is not run or not is_dormant(run):
                continue
            if run.key in self._kept_awake:
                continue
            dormant = Dormant.of(run)
            del controller.runs[run.key]
            controller.machine.drop_run(run.key)
            self._runs[run.name] = dormant
            self._admitted += 1
            if dormant.wake_at < math.inf:
                heapq.heappush(self._moments, dormant)
            if run.epoch > 1:  # what it has recorded was looked up
                controller.scribe.call(controller.journal.forget, run.key)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._moments and not self._stopped:
            wait = min(max(0.0, self._moments[0].wake_at - time.time()), LONGEST_TIMER)
            self._alarm = asyncio.get_running_loop().call_later(wait, self.look)

    # --- waking up --------------------------------------------------------------------------------

    def look(self) -> None:
        """Take up what is due. Called now and then, too: clocks are set, machines are suspended."""
        if self._admitted >= CROWD and not self._stopped:
            self._admitted = 0
            self._controller.scribe.call(give_back, self._controller.journal.relax)
        due = self._moments and self._moments[0].wake_at <= time.time() and not self._stopped
        if due and (self._rousing is None or self._rousing.done()):
            self._rousing = asyncio.get_running_loop().create_task(self._rouse_due())
        elif not due:
            self._set_alarm()

    def summon(self, entrants: list[Entrant]) -> None:
        """Take up runs whose turn it is in their queue, or that are among the next there."""
        for entrant in entrants:
            dormant = self._runs.get(entrant.name)
            if dormant is not None and dormant.wake_at == math.inf:
                dormant.wake_at = SUMMONED
                heapq.heappush(self._moments, dormant)
        self.look()

    async def _rouse_due(self) -> None:
        lanes = self._controller.machine.scheduler.lanes
        while self._moments and self._moments[0].wake_at <= time.time() and not self._stopped:
            is_summoned = self._moments[0].wake_at == SUMMONED  # others may wait for its slot
            if not is_summoned and sum(lane.count for lane in lanes.all.values()) > ENOUGH_READY:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            await self.rouse(heapq.heappop(self._moments))
        self._set_alarm()

    def rouse_soon(self, dormant: Dormant) -> "asyncio.Task[None]":
        """Take the run up although its moment has not come."""
        return self._controller.in_background(self.rouse(dormant))

    async def rouse(self, dormant: Dormant) -> None:
        """Take the run up again from the journal."""
        controller = self._controller
        async with controller.starting:
            if self._stopped or self._runs.get(dormant.name) is not dormant:
                return
            try:
                row = await controller.scribe.call(controller.journal.load_run, dormant.name)
                assert row is not None
                await controller.take_up(row, dormant)
            except RunInUseError:
                self._forsake(dormant, lost(dormant.name))
            except Exception as error:  # whatever it is: others may wait behind it
                self._forsake(dormant, error)
                with contextlib.suppress(PerdureError):  # then it can be resumed
                    release = controller.journal.release
                    await controller.scribe.call(release, dormant.key, dormant.epoch)
            self._runs.pop(dormant.name, None)

    async def abort(self, dormant: Dormant, action: bytes | None, why: str) -> None:
        """Stop the run, or one of its actions once its replay has called it."""
        self._kept_awake.add(dormant.key)
        try:
            await self.rouse(dormant)
            driven = self._controller.runs.get(dormant.key)
            while driven is not None and not driven.run.closed:
                with self._controller.batch():
                    if self._controller.machine.abort(driven.run, action, why):
                        return
                await asyncio.sleep(PAUSE_SECONDS)
                driven = self._controller.runs.get(dormant.key)
        finally:
            self._kept_awake.discard(dormant.key)

    # --- the end ----------------------------------------------------------------------------------

    def lost(self, key: int) -> bool:
        """Somebody else drives the run; return False if it was not dormant."""
        dormant = next((each for each in self._runs.values() if each.key == key), None)
        if dormant is None:
            return False
        del self._runs[dormant.name]
        self._forsake(dormant, lost(dormant.name))
        return True

    def fail(self, error: BaseException) -> None:
        """Nothing can be recorded: forget all runs; what is recorded stays good."""
        runs, self._runs = self._runs, {}
        self._moments.clear()
        for dormant in runs.values():
            self._forsake(dormant, error)

    def _forsake(self, dormant: Dormant, error: BaseException) -> None:
        self._controller.ends.fail(dormant.name, of_run(error, dormant.name))
        with self._controller.batch():
            dormant.abandon()

    async def stop(self) -> None:
        """Leave the runs to whoever resumes them. Their leases end with this process."""
        self._stopped = True
        self._set_alarm()
        if self._rousing is not None:
            with contextlib.suppress(PerdureError):
                await self._rousing
        runs, self._runs = self._runs, {}
        now = time.time()
        epochs = {dormant.key: dormant.epoch for dormant in runs.values()}
        ends = [RunEnd(run=key, phase=Phase.INTERRUPTED, at=now) for key in epochs]
        if ends:
            self._controller.scribe.commit([*ends], [], epochs)
        for name in runs:
            row = RunRow(name=name, spec=_NOBODY, phase=Phase.INTERRUPTED)
            self._controller.ends.tell(row)
