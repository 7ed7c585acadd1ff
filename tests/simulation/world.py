"""A world in one process: the real core, a journal in memory, workers made of generators, a clock
that jumps, and everything that can go wrong, all drawn from one seed."""

import heapq
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from simulation.programs import MODULUS, Failed, Node, make, mix

from perdure._core import failures
from perdure._core.ids import action_id, digest, root_id
from perdure._core.invariants import check
from perdure._core.lifecycle import Ended
from perdure._core.machine import Machine, WorkerEnd
from perdure._core.model import Demand, Failure, Outcome, Phase
from perdure._core.orders import Deliver, Interrupt, Quit, Start, TakeBack, Unknown
from perdure._core.records import ActionRow, RunEnd, RunRow
from perdure._core.state import Attempt, Run
from perdure._journal.memory import MemoryJournal

LIMIT = 200_000
"""Events after which a world that has not ended is stuck."""


@dataclass
class Faults:
    """What may go wrong, as probabilities per second of virtual time, until ``until``."""

    until: float = 3.0
    worker_kills: float = 4.0
    worker_crashes: float = 0.0
    controller_crashes: float = 1.5


@dataclass
class Body:
    """An attempt being executed by a simulated worker."""

    handle: int
    action: bytes
    node: Node
    replay: bool
    code: Generator[Any, Any, int]
    waiting: dict[bytes, Outcome | None] = field(default_factory=dict)
    order: list[bytes] = field(default_factory=list)
    started: bool = False
    blocked: bool = False
    calls: dict[tuple[str, bytes], int] = field(default_factory=dict)


class SimWorker:
    """A process: takes orders in order, one running body at a time, dies without a word."""

    def __init__(self, world: "World", number: int, is_async: bool) -> None:
        self.world, self.number, self.is_async = world, number, is_async
        self.alive = True
        self.bodies: dict[int, Body] = {}
        self.link_up = self.link_down = 0.0

    def tell(self, command: Callable[[Machine], None]) -> None:
        """Send a message home: it arrives after those sent before it, if the controller lives."""
        world = self.world
        incarnation = world.incarnation
        self.link_up = max(self.link_up, world.now + world.rng.uniform(0.0001, 0.002))

        def arrive() -> None:
            if world.incarnation == incarnation:
                command(world.machine)

        world.at(self.link_up, arrive, batch=True)

    def order(self, message: Any) -> None:
        """An order is on its way to this worker."""
        world = self.world
        self.link_down = max(self.link_down, world.now + world.rng.uniform(0.0001, 0.002))
        world.at(self.link_down, lambda: self.alive and self.take(message))

    def take(self, message: Any) -> None:
        """Handle an order."""
        match message:
            case Body():
                self.bodies[message.handle] = message
                blocked = [b for b in self.bodies.values() if b.blocked]
                if blocked and not self.is_async:
                    self.give_back((message.handle,))
                else:
                    self.run_next()
            case Deliver(parent, id_, outcome):
                self.delivered(parent, id_, outcome)
            case Unknown(parent, id_):
                self.delivered(parent, id_, None)
            case TakeBack(handles):
                self.give_back(handles)
            case Interrupt(handle, reason):
                self.interrupt(handle, reason)
            case Quit():
                self.alive = False
                self.world.gone(self, guilty=False)

    def give_back(self, handles: tuple[int, ...]) -> None:
        back = tuple(h for h in handles if h in self.bodies and not self.bodies[h].started)
        for handle in back:
            del self.bodies[handle]
        self.tell(lambda m: m.returned(self.number, back))

    def interrupt(self, handle: int, reason: str) -> None:
        body = self.bodies.get(handle)
        if body is not None:
            self.end(body, Failure("Cancelled", reason, code=reason, retryable=False))

    def run_next(self) -> None:
        """Start the next body, if nothing is running."""
        active = [b for b in self.bodies.values() if not b.blocked]
        if not active or active[0].started or any(b.started for b in active):
            return
        body = active[0]
        body.started = True
        self.world.executed(body)
        self.later(body, lambda: self.step(body, None))

    def later(self, body: Body, then: Callable[[], None]) -> None:
        def resume() -> None:
            if self.alive and self.bodies.get(body.handle) is body:
                then()

        world = self.world
        world.at(world.now + world.rng.choice((0.00005, 0.001, 0.02)), resume)

    def step(self, body: Body, sent: Any) -> None:
        """Let the body go on to its next wait or its end."""
        try:
            request = body.code.send(sent)
        except StopIteration as stop:
            self.end(body, None, stop.value)
        except Failed as error:
            self.end(body, Failure("Failed", str(error)))
        else:
            self.wait(body, request)

    def wait(self, body: Body, commands: list[tuple[bytes, Callable[[Machine], None]]]) -> None:
        body.waiting = {id_: None for id_, _ in commands}
        body.order = [id_ for id_, _ in commands]
        body.blocked = True
        if not self.is_async:
            self.give_back(tuple(h for h, b in self.bodies.items() if not b.started))
            self.tell(lambda m: m.blocked(body.handle))
        for _, command in commands:
            self.tell(command)
        self.run_next()

    def delivered(self, parent: int, id_: bytes, outcome: Outcome | None) -> None:
        body = self.bodies.get(parent)
        if body is None or id_ not in body.waiting:
            return
        if outcome is not None:
            self.world.observed(id_, outcome)
        body.waiting[id_] = outcome if outcome is not None else ABSENT
        if any(each is None for each in body.waiting.values()):
            return
        got = [body.waiting[each] for each in body.order]
        body.waiting = {}
        body.blocked = False
        if not self.is_async:
            self.tell(lambda m: m.unblocked(body.handle))
        self.later(body, lambda: self.step(body, got))

    def end(self, body: Body, failure: Failure | None, value: int = 0) -> None:
        del self.bodies[body.handle]
        body.code.close()
        outcome = Outcome(failure=failure) if failure else Outcome(value=b"%d" % value)
        self.tell(lambda m: m.done(body.handle, Ended(outcome, seconds=0.001)))
        self.run_next()

    def die(self, *, guilty: bool) -> None:
        """The process ends, at once; what it had sent still arrives."""
        self.alive = False
        self.world.gone(self, guilty=guilty)


ABSENT = Outcome(value=b"absent")


class World:
    """Everything, from one seed.

    Attributes:
        trace: What happened, in order: two worlds of one seed have the same.
    """

    def __init__(self, seed: int, faults: Faults | None = None, cores: int = 2) -> None:
        self.rng = random.Random(seed * 7919 + 1)
        self.faults = faults or Faults()
        self.cores = cores
        self.now = 1000.0
        self.program = make(seed)
        self.nodes: dict[bytes, Node] = {}
        self.journal = MemoryJournal()
        self.events: list[tuple[float, int, Callable[[], Any], bool]] = []
        self.count = 0
        self.trace: list[str] = []
        self.incarnation = 0
        self.workers: dict[int, SimWorker] = {}
        self.flaws: dict[str, int] = {}
        self.result: Outcome | None = None
        self.pending: list[Any] = []
        self.writing = False
        key = self.journal.create_run(RunRow(name="sim", spec=self.program.spec))
        self.key = key
        self.begin()

    # --- time -------------------------------------------------------------------------------------

    def at(self, due: float, what: Callable[[], Any], *, batch: bool = False) -> None:
        """Do something later; ``batch`` events are commands to the machine."""
        self.count += 1
        heapq.heappush(self.events, (due, self.count, what, batch))

    def live(self) -> Outcome:
        """Let time pass until the run has ended."""
        self.plan_faults()
        for _ in range(LIMIT):
            if self.result is not None:
                return self.result
            due, _, what, batch = heapq.heappop(self.events)
            self.now = max(self.now, due)
            if batch:
                self.machine.advance(self.now)
            what()
            if batch:
                self.settle()
        raise AssertionError(f"stuck at {self.now}: {self.story()}")

    def story(self) -> str:
        """Return what is in flight, for a failure's message."""
        actions = [a for r in self.machine.runs.values() for a in r.actions.values()]
        return "\n".join(f"{a.name} {a.id.hex()[:6]} {a.stage.name} {a.ending}" for a in actions)

    # --- the second composition root --------------------------------------------------------------

    def begin(self) -> None:
        """A controller starts and drives the run from what the journal holds."""
        self.incarnation += 1
        first = self.incarnation * 1000
        capacity = Demand(cpu=float(self.cores), memory=1000)
        self.machine = Machine(capacity, first_worker=first, grace=0.1)
        self.pending, self.writing = [], False
        epoch = self.journal.acquire(self.key, f"c{self.incarnation}", lambda _: False)
        self.run = Run(key=self.key, name="sim", epoch=epoch)
        self.run.next_seq = self.journal.last_seq(self.key) + 1
        self.machine.advance(self.now)
        root = root_id("sim")
        self.nodes[root] = self.program
        self.machine.start_run(self.run, self.program.spec, root, b"")
        self.settle()
        self.keep_ticking(self.incarnation)

    def keep_ticking(self, incarnation: int) -> None:
        """Timers and flushes of one incarnation."""
        if incarnation != self.incarnation:
            return
        self.machine.flush()
        self.machine.scheduler.retire_idle(self.now)
        self.at(self.now + 0.005, lambda: self.keep_ticking(incarnation), batch=True)

    def settle(self) -> None:
        """Carry the effects of a batch out, as the real shell does."""
        machine = self.machine
        machine.place()
        effects = machine.effects
        for worker in effects.spawns:
            self.spawn(worker.number, worker.pool.is_async)
        effects.spawns.clear()
        for number, worker in effects.told.items():
            for order in worker.outbox:
                self.send(number, order)
            worker.outbox.clear()
        effects.told.clear()
        for worker in effects.kills:
            self.later_kill(worker.number)
        effects.kills.clear()
        if effects.rows:
            self.pending.append((effects.rows, effects.finished))
            effects.rows, effects.finished = [], []
            self.write()
        for run, ids in effects.lookups.items():
            self.answer(lambda ids=tuple(ids), run=run: self.look_up(run, ids))
        effects.lookups.clear()
        for attempt in effects.audits:
            self.answer(lambda attempt=attempt: self.audit(attempt))
        effects.audits.clear()
        for _, outcome in effects.ended:
            self.result = outcome
        effects.ended.clear()
        check(machine)

    def answer(self, what: Callable[[], None]) -> None:
        incarnation = self.incarnation

        def arrive() -> None:
            if incarnation == self.incarnation:
                what()

        self.at(self.now + self.rng.uniform(0.0001, 0.003), arrive, batch=True)

    def look_up(self, run: Run, ids: tuple[bytes, ...]) -> None:
        self.machine.looked_up(run, ids, self.journal.lookup(self.key, ids))

    def audit(self, attempt: Attempt) -> None:
        recorded = self.journal.children(self.key, attempt.action.seq)
        missing = [task for id_, task, _ in recorded if id_ not in attempt.called]
        assert not missing, f"the replay of {attempt.action.name} did not call {missing}"
        self.machine.audited(attempt, missing)

    def write(self) -> None:
        """Group commit: one at a time, the rest gathers. A crash may come before or after it."""
        if self.writing or not self.pending:
            return
        self.writing = True
        batches, self.pending = self.pending, []
        rows = [row for batch in batches for row in batch[0]]
        finished = [action for batch in batches for action in batch[1]]
        incarnation, epoch = self.incarnation, self.run.epoch
        durable_at = self.now + self.rng.uniform(0.0002, 0.004)

        def commit() -> None:
            if incarnation != self.incarnation:
                return  # the controller died before the transaction
            stale = self.journal.commit(rows, {self.key: epoch})
            assert not stale
            self.note(rows)
            self.at(self.now + self.rng.uniform(0, 0.002), tell, batch=True)

        def tell() -> None:
            if incarnation != self.incarnation:
                return  # it died after the transaction, before anybody heard of it
            self.writing = False
            self.machine.committed(finished)
            self.write()

        self.at(durable_at, commit)

    def note(self, rows: list[Any]) -> None:
        for row in rows:
            if isinstance(row, ActionRow):
                self.trace.append(f"{self.now:.6f} {row.id.hex()[:8]} {row.phase} {row.attempts}")
            elif isinstance(row, RunEnd):
                self.trace.append(f"{self.now:.6f} run {row.phase}")

    # --- workers ----------------------------------------------------------------------------------

    def spawn(self, number: int, is_async: bool) -> None:
        worker = self.workers[number] = SimWorker(self, number, is_async)

        def hello() -> None:
            if worker.alive:
                worker.tell(lambda m: m.worker_ready(number))

        self.at(self.now + self.rng.uniform(0.005, 0.02), hello)

    def send(self, number: int, order: Any) -> None:
        worker = self.workers[number]
        if isinstance(order, Start):
            action = order.attempt.action
            node = self.nodes[action.id]
            body = Body(order.attempt.handle, action.id, node, order.attempt.replays, None)
            body.code = self.execute(body)
            worker.order(body)
        else:
            worker.order(order)

    def later_kill(self, number: int) -> None:
        worker = self.workers[number]
        if worker.alive:
            worker.die(guilty=False)

    def gone(self, worker: SimWorker, *, guilty: bool) -> None:
        """The operating system tells the controller, after what the worker had sent."""
        end = WorkerEnd(failures.worker_lost("died"), guilty=guilty)
        worker.tell(lambda m: m.worker_gone(worker.number, end))

    # --- user code --------------------------------------------------------------------------------

    def execute(self, body: Body) -> Generator[Any, Any, int]:
        """The function of a task, as a generator that yields what it waits for."""
        node = body.node
        total = len(node.path)
        for group in node.groups:
            outcomes = yield self.calls(body, group)
            for child, outcome in zip(group, outcomes, strict=True):
                value = None if outcome.failure else int(outcome.value)
                total = mix(total, value, child)
        for nap in range(node.naps):
            id_ = action_id(body.action, "durable.sleep", digest(b"%d" % nap), 0)
            yield [(id_, lambda m, i=id_: m.sleep(body.handle, i, 0.05))]
        for step in range(node.steps):
            yield from self.step(body, step)
            total = (total * 31 + step) % MODULUS
        if self.flaws.get(node.path, 0) < node.fails:
            self.flaws[node.path] = self.flaws.get(node.path, 0) + 1
            raise Failed(node.path)
        return total

    def calls(self, body: Body, group: list[Node]) -> list[tuple[bytes, Callable[..., None]]]:
        requests = []
        previous: tuple[bytes, ...] = ()
        for child in group:
            inputs = child.path.encode()
            id_ = action_id(body.action, child.spec.name, digest(inputs), 0)
            self.nodes[id_] = child

            def call(m: Machine, id_=id_, child=child, inputs=inputs, needs=previous) -> None:
                m.call(body.handle, child.spec, id_, inputs, needs)

            requests.append((id_, call))
            if body.node.chained:
                previous = (id_,)
        return requests

    def step(self, body: Body, step: int) -> Generator[Any, Any, None]:
        id_ = action_id(body.action, "trace", digest(b"%d" % step), 0)
        if body.replay:
            (known,) = yield [(id_, lambda m: m.lookup(body.handle, id_))]
            if known is not ABSENT:
                return
        self.ran(id_)
        row = ActionRow(
            run=0, seq=0, id=id_, parent=0, task="trace", created=self.now, kind="trace",
            outcome=Outcome(value=b"%d" % step), started=self.now, ended=self.now,
        )  # fmt: skip
        yield [(id_, lambda m: m.record(body.handle, row))]

    # --- promises ---------------------------------------------------------------------------------

    def executed(self, body: Body) -> None:
        """P2: an action with a recorded value never runs again."""
        self.ran(body.action)

    def ran(self, action: bytes) -> None:
        row = self.journal.lookup(self.key, [action]).get(action)
        assert row is None or row.outcome is None or row.outcome.failure is not None, (
            f"{row.task} {action.hex()[:8]} runs again although its value is recorded"
        )

    def observed(self, action: bytes, outcome: Outcome) -> None:
        """P1: what is delivered is recorded, and the same."""
        row = self.journal.lookup(self.key, [action]).get(action)
        assert row is not None
        assert row.outcome == outcome, f"{row.task}: {row.outcome} is recorded, {outcome} was seen"

    # --- faults -----------------------------------------------------------------------------------

    def plan_faults(self) -> None:
        """Draw the moments of all faults."""
        end = self.now + self.faults.until
        for rate, fault in (
            (self.faults.worker_kills, lambda: self.kill_worker(guilty=False)),
            (self.faults.worker_crashes, lambda: self.kill_worker(guilty=True)),
            (self.faults.controller_crashes, self.crash),
        ):
            moment = self.now
            while rate and (moment := moment + self.rng.expovariate(rate)) < end:
                self.at(moment, fault)

    def kill_worker(self, *, guilty: bool) -> None:
        alive = [w for w in self.workers.values() if w.alive]
        if alive:
            self.rng.choice(alive).die(guilty=guilty)

    def crash(self) -> None:
        """SIGKILL of the controller: memory is gone, workers follow, another one starts."""
        self.trace.append(f"{self.now:.6f} crash")
        for worker in self.workers.values():
            worker.alive = False
        self.incarnation += 1
        incarnation = self.incarnation
        self.at(self.now + 0.05, lambda: self.incarnation == incarnation and self.begin())


def phase(outcome: Outcome) -> Phase:
    """Return the phase an outcome stands for."""
    return Phase.SUCCEEDED if outcome.failure is None else Phase.FAILED
