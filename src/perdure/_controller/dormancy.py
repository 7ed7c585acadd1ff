"""Dormant runs: one in which nothing happens before a known moment is forgotten until then.

An answer that somebody gives to what a run has asked ends that early.

Ten thousand runs that sleep for a month must cost next to nothing. What they are is in the journal;
kept here are their lease, the moment, and whoever waits for their end. At that moment a run is
taken up again as it would be by another controller, under a new lease epoch.

Runs whose moment comes together are taken up one after the other, and only as fast as workers get
through what is ready: a crowd that wakes up must neither flood the memory nor the journal.
"""

import asyncio
import contextlib
import heapq
import math
import time
from typing import TYPE_CHECKING

from perdure._controller.driven import of_run
from perdure._core.model import Loader, Phase, TaskSpec
from perdure._core.parking import first_moment, is_dormant
from perdure._core.reasons import Asleep, Brief, Link, Unanswered
from perdure._core.records import RunEnd, RunRow
from perdure._core.state import Run
from perdure.errors import LeaseLostError, PerdureError, RunInUseError

if TYPE_CHECKING:
    from perdure._controller.controller import Controller

ENOUGH_READY = 64
"""Ready actions beyond which no more runs are taken up."""

PAUSE_SECONDS = 0.02
LONGEST_TIMER = 3600.0
_NOBODY = TaskSpec(name="", loader=Loader("module"))


class Dormant:
    """What is kept of a run.

    Attributes:
        key: Its number in the journal.
        name: Its name.
        epoch: Lease epoch under which it is held.
        wake_at: When something happens in it.
        ended: Where its end is told.
        root: Id of its root action; likewise ``task``, its name.
        left: How many of its actions have no outcome.
        strict: As when it was driven last; likewise ``mixed``.
    """

    __slots__ = (
        "ended", "epoch", "key", "left", "mixed", "name", "root", "strict", "task", "wake_at",
    )  # fmt: skip

    def __init__(self, run: Run, wake_at: float, ended: "asyncio.Future[RunRow]") -> None:
        self.key, self.name, self.epoch = run.key, run.name, run.epoch
        self.root, self.task = run.root, run.actions[run.root].name
        self.strict, self.mixed = run.strict, run.mixed
        self.left = len(run.actions)
        self.wake_at = wake_at
        self.ended = ended

    def explained(self) -> Link:
        """Return what the run waits for."""
        until = None if self.wake_at == math.inf else self.wake_at
        return Link(
            action=Brief(run=self.name, number=1, id=self.root.hex(), task=self.task),
            phase=Phase.WAITING,
            attempt=0,
            reason=Unanswered(until=None) if until is None else Asleep(until=until),
        )


class Dormitory:
    """The dormant runs of a controller.

    Args:
        controller: Whose runs they are.
    """

    def __init__(self, controller: "Controller") -> None:
        self._controller = controller
        self._runs: dict[int, Dormant] = {}
        self._moments: list[tuple[float, int]] = []
        self._kept_awake: set[int] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._rousing: asyncio.Task[None] | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, key: int) -> Dormant | None:
        """Return the dormant run of that key."""
        return self._runs.get(key)

    def find(self, name: str) -> Dormant | None:
        """Return the dormant run of that name."""
        return next((run for run in self._runs.values() if run.name == name), None)

    def pop(self, key: int) -> Dormant | None:
        """Forget a run: it is driven again, or by somebody else."""
        return self._runs.pop(key, None)

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
            dormant = Dormant(run, first_moment(run), driven.ended)
            del controller.runs[run.key]
            controller.machine.drop_run(run.key)
            self._runs[run.key] = dormant
            if dormant.wake_at < math.inf:
                heapq.heappush(self._moments, (dormant.wake_at, run.key))
            if run.epoch > 1:  # what it has recorded was looked up
                controller.scribe.call(controller.journal.forget, run.key)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._moments and not self._stopped:
            wait = min(max(0.0, self._moments[0][0] - time.time()), LONGEST_TIMER)
            self._alarm = asyncio.get_running_loop().call_later(wait, self.look)

    # --- waking up --------------------------------------------------------------------------------

    def look(self) -> None:
        """Take up what is due. Called now and then, too: clocks are set, machines are suspended."""
        due = self._moments and self._moments[0][0] <= time.time() and not self._stopped
        if due and (self._rousing is None or self._rousing.done()):
            self._rousing = asyncio.get_running_loop().create_task(self._rouse_due())
        elif not due:
            self._set_alarm()

    async def _rouse_due(self) -> None:
        lanes = self._controller.machine.scheduler.lanes
        while self._moments and self._moments[0][0] <= time.time() and not self._stopped:
            if sum(lane.count for lane in lanes.all.values()) > ENOUGH_READY:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            moment, key = heapq.heappop(self._moments)
            dormant = self._runs.get(key)
            if dormant is not None and dormant.wake_at == moment:
                await self.rouse(dormant)
        self._set_alarm()

    def rouse_soon(self, dormant: Dormant) -> "asyncio.Task[None]":
        """Take the run up although its moment has not come."""
        return self._controller.in_background(self.rouse(dormant))

    async def rouse(self, dormant: Dormant) -> None:
        """Take the run up again from the journal."""
        controller = self._controller
        async with controller.starting:
            if self._stopped or self._runs.get(dormant.key) is not dormant:
                return
            try:
                row = await controller.scribe.call(controller.journal.load_run, dormant.name)
                assert row is not None
                await controller.take_up(row, dormant)
            except RunInUseError:
                self._fail(dormant, _lost(dormant))
            except PerdureError as error:
                self._fail(dormant, of_run(error, dormant.name))
            self._runs.pop(dormant.key, None)

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
        dormant = self.pop(key)
        if dormant is not None:
            self._fail(dormant, _lost(dormant))
        return dormant is not None

    def fail(self, error: BaseException) -> None:
        """Nothing can be recorded: forget all runs; what is recorded stays good."""
        runs, self._runs = self._runs, {}
        self._moments.clear()
        for dormant in runs.values():
            self._fail(dormant, of_run(error, dormant.name))

    def _fail(self, dormant: Dormant, error: BaseException) -> None:
        if not dormant.ended.done():
            dormant.ended.set_exception(error)

    async def stop(self) -> None:
        """Leave the runs to whoever resumes them. Their leases end with this process."""
        self._stopped = True
        self._set_alarm()
        if self._rousing is not None:
            with contextlib.suppress(PerdureError):
                await self._rousing
        runs, self._runs = self._runs, {}
        now = time.time()
        ends = [RunEnd(run=key, phase=Phase.INTERRUPTED, at=now) for key in runs]
        if ends:
            epochs = {key: dormant.epoch for key, dormant in runs.items()}
            self._controller.scribe.commit([*ends], [], epochs)
        for dormant in runs.values():
            if not dormant.ended.done():
                row = RunRow(name=dormant.name, spec=_NOBODY, phase=Phase.INTERRUPTED)
                dormant.ended.set_result(row)


def _lost(dormant: Dormant) -> LeaseLostError:
    return LeaseLostError(
        "another controller has taken the run over",
        run=dormant.name,
        hint="wait for it there: the run goes on",
    )
