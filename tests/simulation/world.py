"""A world in one process: the real core, a journal in memory, workers made of generators, a clock
that jumps, and everything that can go wrong, all drawn from one seed."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from perdure._core import failures
from perdure._core.ends import WorkerEnd
from perdure._core.model import Capacity, LowMemory, MemoryUse, Outcome
from perdure._core.outside import answered
from perdure._core.parking import NEVER
from perdure._core.records import ActionRow, RunRow
from perdure._journal.memory import MemoryJournal
from perdure._ports import Journal
from simulation.programs import QUEUES, Node, make
from simulation.rival import Rival
from simulation.shell import Shell

LIMIT = 300_000
"""Events after which a world that has not ended is stuck."""


@dataclass
class Faults:
    """What may go wrong, as probabilities per second of virtual time, until ``until``.

    Attributes:
        worker_kills: Somebody kills a worker.
        worker_crashes: A worker is brought down by what it executes.
        controller_crashes: The controller dies, its workers follow, another one starts.
        thefts: Another controller takes the run over while the first one lives.
        overruns: A worker uses more memory than it may.
        squeezes: The machine runs out of memory.
    """

    until: float = 3.0
    worker_kills: float = 4.0
    worker_crashes: float = 0.0
    controller_crashes: float = 1.5
    thefts: float = 0.0
    overruns: float = 0.0
    squeezes: float = 0.0

    @property
    def guilty(self) -> bool:
        """Whether attempts are charged for some of it."""
        return bool(self.worker_crashes or self.overruns or self.squeezes)


NONE = Faults(until=0.0)


class World:
    """Everything, from one seed.

    Attributes:
        trace: What happened, in order: two worlds of one seed have the same.
        outcomes: Every outcome that was ever recorded, by action.
        executions: How often each node has begun to run.
        damaged: How many kept values were found damaged, if there were any.
        answers: What somebody answers to each condition, from the moment on at which it is asked.
        settled: Answers of which whoever gave them knows that they are recorded.
        parked: How often an attempt was parked; likewise ``dozed``, of the whole run, and
            ``napped``: of that, before a queue had admitted it; ``called``: it was taken up ahead
            of its turn then.
        park_after: When it is.
        flaws: How often each node has failed; likewise ``hung``.
        starts: When the code of something has begun in a queue, by its name.
        rival: Another controller that uses the queues, if there is one.
        crowd: How many runs wait in the queue of the run that are asleep when it comes.
    """

    def __init__(
        self,
        seed: int,
        faults: Faults | None = None,
        cores: int = 2,
        *,
        program: Node | None = None,
        journal: Journal | None = None,
        capacity: Capacity | None = None,
        queue: str = "",
        rivalry: float = 0.0,
        whims: float = 0.0,
        crowd: int = 0,
    ) -> None:
        self.rng = random.Random(seed * 7919 + 1)
        self.faults = faults or Faults()
        self.capacity = capacity or Capacity(cpu=float(cores), memory=1000)
        self.now = 1000.0
        self.program = program or make(seed, generous=self.faults.guilty)
        self.nodes: dict[bytes, Node] = {}
        self.journal = journal or MemoryJournal()
        self.events: list[tuple[float, int, Callable[[], Any]]] = []
        self.count = 0
        self.trace: list[str] = []
        self.outcomes: dict[bytes, list[Outcome]] = {}
        self.flaws: dict[str, int] = {}
        self.hung: dict[str, int] = {}
        self.executions: Counter[str] = Counter()
        self.damaged = self.parked = self.dozed = self.napped = self.called = 0
        self.park_after = random.Random(seed).choice((NEVER, 0.0, 0.0, 0.02, 0.1))
        self.answers: dict[bytes, Outcome] = {}
        self.settled: dict[bytes, Outcome] = {}
        self.result: Outcome | None = None
        self.key = self.journal.create_run(RunRow(name="sim", spec=self.program.spec))
        self.shells: list[Shell] = []
        self.queue = queue
        self.crowd = crowd
        self.starts: dict[str, list[float]] = {limits.name: [] for limits in QUEUES}
        self.journal.queues.declare(QUEUES, self.now)
        self.rival = Rival(self, self.now + rivalry) if rivalry else None
        if whims:
            self.change_depths(self.now + whims)
        self.begin()

    @property
    def shell(self) -> Shell:
        """The controller that holds the run."""
        return self.shells[-1]

    # --- time -------------------------------------------------------------------------------------

    def at(self, due: float, what: Callable[[], Any]) -> None:
        """Do something later."""
        self.count += 1
        heapq.heappush(self.events, (due, self.count, what))

    def tick(self) -> None:
        """Go to the next event."""
        due, _, what = heapq.heappop(self.events)
        self.now = max(self.now, due)
        what()

    def live(self) -> Outcome:
        """Let time pass until the run has ended."""
        self.plan_faults()
        for _ in range(LIMIT):
            if self.result is not None:
                self.check_answers()
                return self.result
            self.tick()
        raise AssertionError(f"stuck at {self.now}: {self.story()}")

    def after(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.events and self.events[0][0] < end:
            self.tick()

    def story(self) -> str:
        """Return what is in flight, for a failure's message."""
        runs = self.shell.machine.runs.values()
        actions = [a for run in runs for a in run.actions.values()]
        return "\n".join(f"{a.name} {a.id.hex()[:6]} {a.stage.name} {a.ending}" for a in actions)

    def count_down(self, counts: dict[str, int], path: str, limit: int) -> bool:
        """Whether this happens another time to the node, of ``limit`` times in all."""
        if counts.get(path, 0) >= limit:
            return False
        counts[path] = counts.get(path, 0) + 1
        return True

    # --- promises ---------------------------------------------------------------------------------

    def recorded(self, row: ActionRow) -> None:
        """The journal has this row."""
        if row.outcome is not None:
            self.outcomes.setdefault(row.id, []).append(row.outcome)

    def observed(self, action: bytes, outcome: Outcome) -> None:
        """P1: what anybody sees is recorded."""
        assert outcome in self.outcomes.get(action, ()), f"{outcome} was seen, but is not recorded"

    # --- answers ----------------------------------------------------------------------------------

    def asked(self, action: bytes, value: int) -> None:
        """A condition is being asked: somebody is going to answer it."""
        if action not in self.answers:
            self.answers[action] = Outcome(value=b"%d" % value)
            self.at(self.now + self.rng.uniform(0.0, 0.03), lambda: self.answer(action))

    def answer(self, action: bytes) -> None:
        """Somebody answers, and looks again until the answer is recorded."""
        row = self.journal.lookup(self.key, [action]).get(action)
        if self.result is not None or (row and row.outcome and not row.outcome.failure):
            if row is not None and row.outcome == self.answers[action]:
                self.settled[action] = row.outcome
            return
        if row is not None and row.outcome is None:
            if self.shell.alive:
                self.shell.signal(row, self.answers[action])
            else:
                self.record(row, self.answers[action])
        self.at(self.now + self.rng.uniform(0.0, 0.02), lambda: self.answer(action))

    def record(self, row: ActionRow, outcome: Outcome) -> None:
        """Nobody drives the run: who answers records the answer."""
        epoch = self.journal.acquire(self.key, "", lambda _: False)
        rows = answered(row, outcome, "somebody", self.now)
        assert not self.journal.commit(rows, {self.key: epoch})
        self.recorded(rows[0])
        self.settled[row.id] = outcome
        self.trace.append(f"{self.now:.6f} {row.id.hex()[:8]} answered")

    def check_answers(self) -> None:
        """An answer that somebody knows to be recorded has not been lost, nor replaced."""
        rows = self.journal.lookup(self.key, [*self.settled])
        for action, outcome in self.settled.items():
            assert rows[action].outcome == outcome, f"{rows[action]} was answered with {outcome}"

    def lives(self, name: str) -> bool:
        """Whether the controller of that name lives."""
        shells = (shell.name for shell in self.shells if shell.alive)
        return name in shells or (self.rival is not None and name == self.rival.name)

    def check_queues(self) -> None:
        """No queue has more than its limits allow, in all controllers together."""
        for limits in QUEUES:
            name = limits.name
            used = [s.machine.scheduler.queues.used(name) for s in self.shells if s.alive]
            used += [self.rival.used[name]] if self.rival else []
            assert not limits.concurrency or sum(used) <= limits.concurrency, f"{name}: {used}"
            recent = [moment for moment in self.starts[name] if moment > self.now - limits.period]
            self.starts[name] = recent
            assert not limits.starts or len(recent) <= limits.starts, f"{name}: {recent}"

    def change_depths(self, until: float) -> None:
        """Somebody lets more calls wait in a queue, or fewer; not for ever."""
        limits = self.rng.choice(QUEUES)
        if self.now < until:
            limits = replace(limits, depth=self.rng.choice((0, 1, 5)))
            self.at(self.now + self.rng.uniform(0.01, 0.3), lambda: self.change_depths(until))
        self.journal.queues.declare([limits], self.now)

    # --- faults -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """A controller starts."""
        if self.shells:
            self.shell.owner = False
        self.shells.append(Shell(self, len(self.shells) + 1))
        self.shell.begin()

    def plan_faults(self) -> None:
        """Draw the moments of all faults."""
        faults = self.faults
        end = self.now + faults.until
        for rate, fault in (
            (faults.worker_kills, lambda: self.kill_worker(guilty=False)),
            (faults.worker_crashes, lambda: self.kill_worker(guilty=True)),
            (faults.controller_crashes, self.crash),
            (faults.thefts, self.steal),
            (faults.overruns, self.overrun),
            (faults.squeezes, self.squeeze),
        ):
            moment = self.now
            while rate and (moment := moment + self.rng.expovariate(rate)) < end:
                self.at(moment, fault)

    def kill_worker(self, *, guilty: bool) -> None:
        alive = [w for shell in self.shells for w in shell.workers.values() if w.alive]
        if alive:
            self.rng.choice(alive).die(guilty=guilty)

    def overrun(self) -> None:
        """A worker whose memory is limited uses more than that."""
        limited = [
            (worker, known.allowance)
            for shell in self.shells
            for worker in shell.workers.values()
            if worker.alive
            and (known := shell.machine.scheduler.staff.workers.get(worker.number)) is not None
            and known.allowance
        ]
        if limited:
            worker, limit = self.rng.choice(limited)
            before = self.rng.choice((0, limit))
            use = MemoryUse(limit, limit + 1, before)
            worker.end_with(WorkerEnd(failures.over_memory(use), guilty=True))

    def squeeze(self) -> None:
        """The machine is short of memory, some of which workers use."""
        shell = self.shell
        uses = {n: self.rng.randrange(1 << 30) for n, w in shell.workers.items() if w.alive}
        low = LowMemory(self.rng.randrange(1 << 30), 1 << 30, uses)
        shell.at(self.now, lambda: shell.machine.low_memory(low))

    def crash(self) -> None:
        """The controller is killed; after a while another one starts."""
        self.trace.append(f"{self.now:.6f} crash")
        shell = self.shell
        shell.kill()
        self.at(self.now + 0.05, lambda: self.shell is shell and self.begin())

    def steal(self) -> None:
        """Another controller believes this one dead."""
        if self.shell.alive and self.result is None:
            self.trace.append(f"{self.now:.6f} theft")
            self.begin()
