"""The second composition root: a controller of the simulated world."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure._core.effects import Consult, Effects
from perdure._core.ids import digest, root_id
from perdure._core.invariants import check
from perdure._core.keys import key_of, policy_of
from perdure._core.machine import Machine
from perdure._core.model import InputMark, Outcome
from perdure._core.orders import Start
from perdure._core.parking import first_moment, is_dormant, keep_place
from perdure._core.queues import Entrant
from perdure._core.records import ActionRow, CacheQuery, Claim, RunEnd
from perdure._core.state import Attempt, Run
from perdure._core.workers import Worker
from simulation.crowd import Crowd
from simulation.worker import Body, Known, SimWorker

if TYPE_CHECKING:
    from simulation.world import World

FLUSH_SECONDS = 0.005


class Shell:
    """A controller: the real core, carried out in virtual time.

    Attributes:
        alive: Nobody has killed it.
        owner: No other controller has taken its run over, as far as it could know.
    """

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.name = f"c{number}"
        self.alive = self.owner = True
        self.machine = Machine(world.capacity, first_worker=number * 1000, grace=0.1)
        self.machine.parking.after = world.park_after
        self.workers: dict[int, SimWorker] = {}
        self.pending: list[Any] = []
        self.writing = False
        self.number = number
        self.place: Entrant | None = None
        self.run = self.take_over()
        self.crowd = Crowd(self) if world.crowd else None

    def take_over(self) -> Run:
        """Acquire the run."""
        journal, key = self.world.journal, self.world.key
        epoch = journal.acquire(key, f"c{self.number}", lambda _: False)
        queue = self.machine.scheduler.queues.get(self.world.queue)
        seq = journal.last_seq(key) + 1
        return Run(key=key, name="sim", epoch=epoch, next_seq=seq, queue=queue)

    def begin(self) -> None:
        """Drive the run from what the journal holds."""
        self.at(self.world.now, self.drive)
        self.keep_ticking()

    def drive(self) -> None:
        program = self.world.program
        root = root_id("sim")
        self.world.nodes[root] = program
        self.machine.start_run(self.run, program.spec, root, b"")

    def doze(self) -> None:
        """Forget a run in which nothing happens, until something does."""
        dormant, self.machine.effects.dormant = self.machine.effects.dormant, []
        for run in dormant:
            if is_dormant(run):
                self.world.dozed += 1
                if (moment := first_moment(run)) < math.inf:
                    self.at(moment, self.wake)
                self.place = keep_place(run)
                self.world.napped += self.place is not None
                self.machine.drop_run(run.key)
        summoned, self.machine.effects.summoned = self.machine.effects.summoned, []
        for place in summoned:
            if place is self.place:
                self.at(self.world.now + self.world.rng.uniform(0.0, 0.005), self.wake)
            elif self.crowd is not None:
                self.crowd.summoned(place)

    def wake(self) -> None:
        if self.writing or self.pending:  # what is read now is to be what was written then
            self.at(self.world.now + 0.001, self.wake)
        elif self.run.key not in self.machine.runs:
            place, self.place = self.place, None
            if self.owner:
                self.run = self.take_over()
                if place is not None:
                    self.world.called += place in place.queue.called
                    place.queue.arrive(self.run, place)
                self.drive()
            elif place is not None:
                place.queue.abandon(place)

    def kill(self) -> None:
        """SIGKILL: memory is gone, workers follow."""
        self.alive = self.owner = False
        for worker in self.workers.values():
            worker.alive = False

    def at(self, due: float, command: Callable[[], Any]) -> None:
        """Handle a command later, and carry its effects out."""

        def handle() -> None:
            if self.alive:
                self.machine.advance(self.world.now)
                command()
                self.settle()

        self.world.at(due, handle)

    def keep_ticking(self) -> None:
        self.machine.flush()
        self.machine.parking.look()
        self.machine.scheduler.let_go(self.world.now)
        self.at(self.world.now + FLUSH_SECONDS, self.keep_ticking)

    # --- effects ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Carry the effects of a batch out, as the real shell does."""
        machine = self.machine
        machine.place()
        effects = machine.effects
        for worker in effects.spawns:
            self.spawn(worker)
        effects.spawns.clear()
        effects.limits.clear()  # the world looks at the workers' allowances itself
        for number, worker in effects.told.items():
            for order in worker.outbox:
                self.send(self.workers[number], order)
            worker.outbox.clear()
        effects.told.clear()
        for worker in effects.kills:
            if self.workers[worker.number].alive:
                self.workers[worker.number].die(guilty=False)
        effects.kills.clear()
        if effects.rows:
            self.pending.append((effects.rows, effects.finished))
            effects.rows, effects.finished = [], []
            self.write()
        for run, ids in effects.lookups.items():
            self.answer(lambda ids=tuple(ids), run=run: self.look_up(run, ids))
        effects.lookups.clear()
        for attempt in effects.pages:
            self.answer(lambda attempt=attempt: self.read(attempt))
        effects.pages.clear()
        if effects.consults:
            asked, effects.consults = effects.consults, []
            self.answer(lambda: self.consult(asked))
        for attempt in effects.audits:
            self.answer(lambda attempt=attempt: self.audit(attempt))
        effects.audits.clear()
        for _, outcome in effects.ended:
            self.world.result = outcome
        effects.ended.clear()
        self.ask(effects)
        check(machine)
        self.world.check_queues()
        self.no_more_computes_than_there_are_cores()
        self.doze()

    def spawn(self, asked: Worker) -> None:
        number, pool = asked.number, asked.pool
        worker = self.workers[number] = SimWorker(
            self, number, is_async=pool.is_async, concurrency=pool.concurrency
        )

        def hello() -> None:
            if worker.alive:
                worker.tell(lambda m: m.worker_ready(number))

        self.world.at(self.world.now + self.world.rng.uniform(0.005, 0.02), hello)

    def send(self, worker: SimWorker, order: Any) -> None:
        if isinstance(order, Start):
            attempt = order.attempt
            id_ = attempt.action.id
            known = None if attempt.recollection is None else Known()
            order = Body(attempt.handle, id_, self.world.nodes[id_], attempt.replays, None, known)
            order.counts = self.machine.scheduler.queues.counts(attempt)
        worker.order(order)

    def signal(self, row: ActionRow, outcome: Outcome) -> None:
        """Somebody's answer is on its way here; the journal is asked again before it counts."""

        def take() -> None:
            found = self.world.journal.lookup(self.run.key, [row.id])[row.id]
            if self.run.key not in self.machine.runs:
                self.wake()  # whoever answers tries again
            elif found.outcome is None:
                self.answer(lambda: self.machine.outside.signal(self.run, found, outcome, "me"))

        self.at(self.world.now + self.world.rng.uniform(0.0001, 0.002), take)

    # --- the journal ------------------------------------------------------------------------------

    def answer(self, what: Callable[[], None]) -> None:
        self.at(self.world.now + self.world.rng.uniform(0.0001, 0.003), what)

    def look_up(self, run: Run, ids: tuple[bytes, ...]) -> None:
        rows = self.world.journal.lookup(run.key, ids)
        for row in rows.values():  # a commit whose writer never heard of it
            self.world.recorded(row)
        self.machine.looked_up(run, ids, rows)

    def read(self, attempt: Attempt) -> None:
        assert attempt.recollection is not None
        place = self.run.key, attempt.action.seq, attempt.recollection.upto
        page = self.world.journal.recorded(*place)
        for row in self.world.journal.lookup(self.run.key, [*page.told()]).values():
            self.world.recorded(row)
        self.machine.read(attempt, page)

    def audit(self, attempt: Attempt) -> None:
        recorded = self.world.journal.children(self.run.key, attempt.action.seq)
        missing = [task for id_, task, seq in recorded if not attempt.has_called(id_, seq)]
        assert not missing, f"the replay of {attempt.action.name} did not call {missing}"
        self.machine.audited(attempt, missing)

    def consult(self, asked: list[Consult]) -> None:
        """Ask whether values are kept; the answers are on their way for a while, too."""
        for each in asked:
            action = each.action
            policy, known = policy_of(action), action.cache
            assert known is not None
            marks = known.inputs
            if marks is None:
                values = b"".join((action.values or {}).values())
                marks = {"needs": InputMark(digest(values), "")}
            key = key_of(policy, marks)
            claim = Claim(self.run.key, self.run.epoch, each.number) if policy.serialize else None
            damaged = self.world.rng.random() < 0.1
            self.world.damaged += damaged
            query = CacheQuery(key, math.inf if damaged else each.since, claim)
            (answer,) = self.world.journal.cached([query], lambda _: True)
            self.answer(
                lambda each=each, marks=marks, key=key, answer=answer, damaged=damaged: (
                    self.machine.caching.consulted(each, marks, key, answer, damaged=damaged)
                )
            )

    def ask(self, effects: Effects) -> None:
        """Question and answer are on their way for a while; now and then neither arrives."""
        world, asks = self.world, effects.asks
        effects.asks = []
        if not asks:
            return

        def share() -> None:
            if not self.alive:
                return
            if world.rng.random() < 0.05:
                self.answer(lambda: self.machine.unanswered(asks))
                return
            grants = world.journal.queues.share(self.name, asks, world.now, world.lives)
            self.answer(lambda: self.machine.granted(grants))

        world.at(world.now + world.rng.uniform(0.0001, 0.003), share)

    def write(self) -> None:
        """Group commit: one at a time, the rest gathers. A crash may come before or after it."""
        if self.writing or not self.pending:
            return
        self.writing = True
        batches, self.pending = self.pending, []
        rows = [row for batch in batches for row in batch[0]]
        finished = [action for batch in batches for action in batch[1]]
        world = self.world

        def commit() -> None:
            if not self.alive:
                return  # it died before the transaction
            stale = world.journal.commit(rows, {self.run.key: self.run.epoch})
            if not self.alive:
                return  # it died at it
            assert bool(stale) != self.owner, "who owns the run may write, and nobody else"
            if not stale:
                self.note(rows)
            self.at(world.now + world.rng.uniform(0, 0.002), lambda: tell(stale))

        def tell(stale: frozenset[int]) -> None:
            self.writing = False
            for key in stale:
                self.machine.drop_run(key)
                self.pending.clear()
            self.machine.committed(finished)
            self.write()

        world.at(world.now + world.rng.uniform(0.0002, 0.004), commit)

    def note(self, rows: list[Any]) -> None:
        trace, now = self.world.trace, self.world.now
        for row in rows:
            if isinstance(row, ActionRow):
                trace.append(f"{now:.6f} {row.id.hex()[:8]} {row.phase} {row.attempts}")
                self.world.recorded(row)
            elif isinstance(row, RunEnd):
                trace.append(f"{now:.6f} run {row.phase}")

    # --- promises ---------------------------------------------------------------------------------

    def no_more_computes_than_there_are_cores(self) -> None:
        """What the ledger says holds in the processes, too. (Async ones compute in turns.)"""
        computing = sum(
            body.node.cpu
            for worker in self.workers.values()
            for body in worker.bodies.values()
            if worker.alive and not worker.is_async and body.started and not body.blocked
        )
        assert computing <= self.world.capacity.cpu, f"{computing} cores are in use"

    def executed(self, body: Body) -> None:
        """An attempt begins."""
        self.world.executions[body.node.path] += 1
        if body.node.spec.queue:
            self.world.starts[body.node.spec.queue].append(self.world.now)
        self.ran(body.action)
        if body.node.serialized:
            self.alone(body)

    def alone(self, body: Body) -> None:
        """Of a serialized key one runs at a time."""
        key = self.key(body)
        twins = [
            other.node.path
            for worker in self.workers.values()
            for other in worker.bodies.values()
            if worker.alive and other.started and other.action != body.action
            and key is not None and self.key(other) == key
        ]  # fmt: skip
        assert not twins, f"{body.node.path} runs beside {twins}"

    def key(self, body: Body) -> bytes | None:
        """Return the key of what a body executes; None if it is no longer wanted."""
        action = self.run.actions.get(body.action)
        return action.cache.key if action is not None and action.cache is not None else None

    def ran(self, action: bytes) -> None:
        """P2: an action with a recorded value never runs again."""
        if not self.owner:
            return  # it cannot know what its successor has recorded
        row = self.world.journal.lookup(self.run.key, [action]).get(action)
        assert row is None or row.outcome is None or row.outcome.failure is not None, (
            f"{row.task} {action.hex()[:8]} runs again although its value is recorded"
        )
