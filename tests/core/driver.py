"""Drives a machine by hand: commands in, effects out, with a journal in memory and no clock.

Tests speak in task names: ``driver.call(parent, "clean")`` returns an :class:`Action`,
``driver.end(action, b"1")`` ends its attempt. Every step checks the invariants.
"""

from typing import Any, TypeVar

from perdure._core import failures
from perdure._core.ids import action_id, digest, root_id
from perdure._core.invariants import check
from perdure._core.keys import key_of, policy_of
from perdure._core.lifecycle import Ended
from perdure._core.machine import Machine, WorkerEnd
from perdure._core.model import (
    CachePolicy,
    Capacity,
    Demand,
    Device,
    Failure,
    InputMark,
    Loader,
    LowMemory,
    MemoryUse,
    Outcome,
    RetryPolicy,
    Reuse,
    TaskSpec,
)
from perdure._core.model import TimeoutPolicy as Timeout
from perdure._core.orders import Deliver, Start, Tell
from perdure._core.parking import NEVER
from perdure._core.queues import Entrant
from perdure._core.records import ActionRow, AttemptRow, CacheQuery, Claim, RunEnd, RunRow
from perdure._core.sharing import Ask
from perdure._core.state import Action, Attempt, Run
from perdure._core.transitions import Stage
from perdure._core.workers import Worker
from perdure._journal.memory import MemoryJournal

Kind = TypeVar("Kind")
NO_LIMITS = Timeout()
SHARED = Reuse()
DIED = failures.worker_lost("its worker died")


def spec(
    name: str = "task",
    *,
    is_async: bool = False,
    retries: int = 0,
    base: float = 0.0,
    cpu: float = 1.0,
    memory: int = 0,
    on_oom: tuple[int, ...] = (),
    gpu: float = 0,
    device: str = "",
    custom: tuple[tuple[str, float], ...] = (),
    timeout: Timeout = NO_LIMITS,
    reuse: Reuse = SHARED,
    cache: CachePolicy | None = None,
    queue: str = "",
) -> TaskSpec:
    """Return a task spec."""
    return TaskSpec(
        name=name,
        loader=Loader("module"),
        is_async=is_async,
        demand=Demand(cpu=cpu, memory=memory, gpu=gpu, device=device, custom=custom),
        retry=RetryPolicy(
            count=retries,
            base=base,
            jitter=0.0,
            on_oom=tuple(
                Demand(cpu=cpu, memory=size, gpu=gpu, device=device, custom=custom)
                for size in on_oom
            ),
        ),
        timeout=timeout,
        reuse=reuse,
        cache=cache,
        queue=queue,
    )


def policy(version: bytes = b"v1", **options: Any) -> CachePolicy:
    """Return the policy of a cached task."""
    return CachePolicy(version=version, facts=b"f" * 32, **options)


def error(text: str = "boom", *, retryable: bool = True) -> Failure:
    """Return a failure of the user's code."""
    return Failure("builtins.ValueError", text, retryable=retryable)


def marked(given: bytes) -> InputMark:
    """Return what a key says of an input."""
    return InputMark(digest(given), repr(given))


class Driver:
    """A controller without a shell.

    Args:
        cpu: Cores of the node.
        journal: What earlier controllers have recorded.

    Attributes:
        hold_commits: Rows gather until :meth:`commit`.
        hold_answers: Lookups and audits gather until :meth:`answer`.
        hold_consults: Questions about kept values gather until :meth:`consult`.
        hold_workers: Workers do not come up until :meth:`come_up`.
        orders: What workers were told, in order.
        rows: What was given to the journal, in order.
        killed: Numbers of workers to be killed.
        limits: Bytes that workers may use, by number.
        ended: Outcomes of runs that have ended.
        claimed: Ids of calls that attempts have settled with what they had been told.
        damaged: Keys of values that are found damaged.
        dead: Names of controllers that do not live any more.
        owner: Its own name.
        hold_shares: Questions about queues gather until :meth:`share`.
    """

    def __init__(
        self,
        cpu: float = 2.0,
        journal: MemoryJournal | None = None,
        memory: int = 1000,
        gpus: tuple[str, ...] = (),
        custom: tuple[tuple[str, float], ...] = (),
        park_after: float = NEVER,
        owner: str = "me",
    ) -> None:
        self.owner = owner
        self.journal = journal or MemoryJournal()
        self.now = 100.0
        devices = tuple(Device(str(place), kind) for place, kind in enumerate(gpus))
        capacity = Capacity(cpu=cpu, memory=memory, custom=custom, devices=devices)
        self.machine = Machine(capacity, grace=0.5)
        self.machine.parking.after = park_after
        self.machine.advance(self.now)
        self.hold_commits = self.hold_answers = self.hold_workers = self.hold_consults = False
        self.orders: list[tuple[int, Any]] = []
        self.rows: list[Any] = []
        self.killed: list[int] = []
        self.limits: dict[int, int] = {}
        self.ended: list[Outcome] = []
        self.spawned: list[Worker] = []
        self._rows: list[Any] = []
        self._finished: list[Action] = []
        self._lookups: list[tuple[Run, list[bytes]]] = []
        self._audits: list[Any] = []
        self._pages: list[Attempt] = []
        self._consults: list[Any] = []
        self.hold_shares = False
        self._asks: list[Ask] = []
        self.damaged: set[bytes] = set()
        self.dead: set[str] = set()
        self.claimed: set[bytes] = set()

    # --- the shell --------------------------------------------------------------------------------

    def settle(self) -> None:
        """Carry effects out until there are none."""
        machine, effects = self.machine, self.machine.effects
        while True:
            machine.place()
            check(machine)
            for worker in effects.told.values():
                self.orders += [(worker.number, order) for order in worker.outbox]
                worker.outbox.clear()
            effects.told.clear()
            self.killed += [w.number for w in effects.kills]
            effects.kills.clear()
            self.limits |= {number: w.allowance for number, w in effects.limits.items()}
            effects.limits.clear()
            self.ended += [outcome for _, outcome in effects.ended]
            effects.ended.clear()
            self.spawned += effects.spawns
            effects.spawns.clear()
            self._rows += effects.rows
            self._finished += effects.finished
            effects.rows, effects.finished = [], []
            self._lookups += effects.lookups.items()
            effects.lookups.clear()
            self._audits += effects.audits
            effects.audits.clear()
            self._pages += effects.pages
            effects.pages.clear()
            self._consults += effects.consults
            effects.consults.clear()
            self._asks += effects.asks
            effects.asks.clear()
            if not (
                (not self.hold_workers and self._ready())
                or (not self.hold_commits and self._commit())
                or (not self.hold_answers and self._answer())
                or (not self.hold_consults and self._consult())
                or (not self.hold_shares and self._share())
            ):
                return

    def _ready(self) -> bool:
        spawned, self.spawned = self.spawned, []
        for worker in spawned:
            self.machine.worker_ready(worker.number)
        return bool(spawned)

    def _commit(self) -> bool:
        rows, finished = self._rows, self._finished
        self._rows, self._finished = [], []
        epochs = {run.key: run.epoch for run in self.machine.runs.values()}
        self.journal.commit([r for r in rows if r.run in epochs], epochs)
        self.rows += rows
        self.machine.committed(finished)
        return bool(rows)

    def _answer(self) -> bool:
        lookups, self._lookups = self._lookups, []
        audits, self._audits = self._audits, []
        pages, self._pages = self._pages, []
        for attempt in pages:
            assert attempt.recollection is not None
            place = attempt.action.run.key, attempt.action.seq, attempt.recollection.upto
            self.machine.read(attempt, self.journal.recorded(*place))
        for run, ids in lookups:
            self.machine.looked_up(run, ids, self.journal.lookup(run.key, ids))
        for attempt in audits:
            action = attempt.action
            recorded = self.journal.children(action.run.key, action.seq)
            missing = [task for id_, task, seq in recorded if not attempt.has_called(id_, seq)]
            self.machine.audited(attempt, missing)
        return bool(pages or lookups or audits)

    def _consult(self) -> bool:
        consults, self._consults = self._consults, []
        for asked in consults:
            action = asked.action
            policy, known = policy_of(action), action.cache
            assert known is not None
            marks = known.inputs or {"x": marked(b"".join((action.values or {}).values()))}
            key = key_of(policy, marks)
            claim = Claim(action.run.key, action.run.epoch, asked.number)
            since = asked.since
            if damaged := key in self.damaged:
                self.damaged.discard(key)
                since = self.now + 1
            query = CacheQuery(key, since, claim if policy.serialize else None)
            (answer,) = self.journal.cached([query], lambda owner: owner not in self.dead)
            self.machine.caching.consulted(asked, marks, key, answer, damaged=damaged)
        return bool(consults)

    def _share(self) -> bool:
        asks, self._asks = self._asks, []
        queues = self.journal.queues
        if asks:
            grants = queues.share(self.owner, asks, self.now, lambda name: name not in self.dead)
            self.machine.granted(grants)
        return bool(asks)

    def share(self) -> None:
        """What was asked about queues is answered."""
        self._share()
        self.settle()

    def lose_asks(self) -> None:
        """The journal cannot be asked about queues."""
        asks, self._asks = self._asks, []
        self.machine.unanswered(asks)

    def consult(self) -> None:
        """What was asked about kept values is answered."""
        self._consult()
        self.settle()

    def come_up(self) -> None:
        """Workers that were asked for say Hello."""
        self._ready()
        self.settle()

    def commit(self) -> None:
        """What was held back is recorded."""
        self._commit()
        self.settle()

    def answer(self) -> None:
        """What the journal was asked is answered."""
        self._answer()
        self.settle()

    def after(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.machine.advance(self.now)
        self.settle()

    # --- commands ---------------------------------------------------------------------------------

    def start(
        self,
        task: TaskSpec | None = None,
        name: str = "run",
        *,
        place: Entrant | None = None,
        **options: Any,
    ) -> Action:
        """Start or resume the run of that name, or take it up from its place in a queue.

        Returns:
            Its root.
        """
        task = task or spec("root", is_async=True)
        row = self.journal.load_run(name)
        key = row.key if row else self.journal.create_run(RunRow(name=name, spec=task))
        epoch = self.journal.acquire(key, f"{id(self)}", lambda _: False)
        options["queue"] = self.machine.scheduler.queues.get(options.get("queue", ""))
        run = Run(
            key=key, name=name, epoch=epoch, next_seq=self.journal.last_seq(key) + 1, **options
        )
        if place is not None:
            place.queue.arrive(run, place)
        self.machine.start_run(run, task, root_id(name), b"")
        root = run.actions[run.root]
        self.settle()
        return root

    def root(self) -> Action:
        """Return the root of the first run, which goes on."""
        run = self.machine.runs[1]
        return run.actions[run.root]

    def call(
        self,
        parent: Action,
        task: TaskSpec | str = "task",
        k: int = 0,
        needs: tuple[bytes, ...] = (),
        given: bytes = b"inputs",
    ) -> Action:
        """The parent's attempt calls a child; return it. ``given`` is what its key is made of."""
        task = spec(task) if isinstance(task, str) else task
        id_ = self.id(parent, task.name, k)
        assert parent.attempt is not None
        marks = None if needs else {"x": marked(given)}
        self.machine.call(parent.attempt.handle, task, id_, b"inputs", needs, marks=marks)
        child = parent.run.actions[id_]
        self.settle()
        return child

    def id(self, parent: Action, name: str, k: int = 0) -> bytes:
        """Return the id of a child."""
        return action_id(parent.id, name, digest(b"inputs"), k)

    def known(self, action: Action) -> dict[bytes, bytes]:
        """Return what the action's attempt has been told ahead of its calls."""
        assert action.attempt is not None
        handle, known = action.attempt.handle, {}
        for order in self.told(Tell):
            known.update(order.page.told() if order.parent == handle else {})
        return known

    def claim(self, parent: Action, name: str, k: int = 0) -> bytes:
        """The parent's attempt makes a call whose value it has been told; return the value."""
        id_ = self.id(parent, name, k)
        self.claimed.add(id_)
        return self.known(parent)[id_]

    def read_on(self, action: Action) -> None:
        """The action's attempt takes in what is recorded, to the end."""
        assert action.attempt is not None
        told = action.attempt.recollection
        assert told is not None
        while not told.complete:
            self.machine.more(action.attempt.handle)
            self.settle()

    def sleep(self, parent: Action, seconds: float) -> Action:
        """The parent's attempt asks for a durable sleep."""
        assert parent.attempt is not None
        id_ = self.id(parent, "durable.sleep")
        self.machine.sleep(parent.attempt.handle, id_, seconds)
        nap = parent.run.actions[id_]
        self.settle()
        return nap

    def ask(
        self, parent: Action, name: str = "approve", k: int = 0, timeout: float | None = None
    ) -> Action:
        """The parent's attempt asks somebody outside."""
        assert parent.attempt is not None
        id_ = self.id(parent, name, k)
        row = ActionRow(
            run=0, seq=0, id=id_, parent=0, task=name, created=self.now, kind="condition",
            inputs=b"question",
        )  # fmt: skip
        self.machine.condition(parent.attempt.handle, row, timeout)
        condition = parent.run.actions[id_]
        self.settle()
        return condition

    def signal(self, run: Run, id_: bytes, value: bytes = b"yes", *, row: Any = None) -> str:
        """Somebody answers a condition, of which ``row`` was read, or is now."""
        row = row or self.recorded(id_, run.key)
        answer = Outcome(value=value) if value else Outcome(failure=failures.refused("no"))
        refused = self.machine.outside.signal(run, row, answer, "somebody")
        self.settle()
        return refused

    def step(self, parent: Action, name: str, value: bytes = b"step") -> bytes:
        """The parent's attempt has taken a step; return its id."""
        assert parent.attempt is not None
        id_ = self.id(parent, name)
        row = ActionRow(
            run=0, seq=0, id=id_, parent=0, task=name, created=self.now, kind="trace",
            outcome=Outcome(value=value), started=self.now, ended=self.now + 0.25,
        )  # fmt: skip
        self.machine.record(parent.attempt.handle, row)
        self.settle()
        return id_

    def end(
        self, action: Action, value: bytes = b"value", failure: Failure | None = None,
        seconds: float = 1.0,
    ) -> None:  # fmt: skip
        """The action's attempt ends."""
        assert action.attempt is not None, f"{action.name} is {action.stage.name}"
        outcome = Outcome(failure=failure) if failure else Outcome(value=value)
        unclaimed = self.known(action).keys() - self.claimed
        ended = Ended(outcome, seconds, unclaimed=frozenset(unclaimed))
        self.machine.done(action.attempt.handle, ended)
        self.settle()

    def begin(self, action: Action) -> None:
        """The code of the action begins."""
        assert action.attempt is not None
        self.machine.scheduler.queues.begun(action.attempt, self.now)
        self.settle()

    def abort(self, action: Action) -> None:
        """Somebody stops the run of the action, or the action."""
        self.machine.abort(action.run, action.id, "enough")
        self.settle()

    def fail(self, action: Action, failure: Failure | None = None) -> None:
        """The action's attempt ends with an error."""
        self.end(action, failure=failure or error())

    def kill(self, action: Action | int, *, guilty: bool = False) -> None:
        """The worker of the action is gone."""
        number = action if isinstance(action, int) else self.worker(action).number
        self.machine.worker_gone(number, WorkerEnd(DIED, guilty=guilty))
        self.settle()

    def over(self, action: Action, peak: int, *, before: int = 0, spare: int = 0) -> None:
        """The worker of the action was killed because it used more memory than it might."""
        number = self.worker(action).number
        use = MemoryUse(self.limits[number] + spare, peak, before)
        self.machine.worker_gone(number, WorkerEnd(failures.over_memory(use), guilty=True))
        self.settle()

    def low(self, available: int, floor: int, uses: dict[Action, int]) -> None:
        """The machine has little memory left."""
        by_number = {self.worker(action).number: used for action, used in uses.items()}
        self.machine.low_memory(LowMemory(available, floor, by_number))
        self.settle()

    def block(self, action: Action, on: Action | None = None, seen: int | None = None) -> None:
        """The action's sync attempt waits for a child, or for any."""
        assert action.attempt is not None
        self.machine.blocked(action.attempt.handle, on.id if on else b"", seen)
        self.settle()

    # --- what is to be seen -----------------------------------------------------------------------

    def worker(self, action: Action) -> Worker:
        """Return the worker that has the action's attempt."""
        assert action.attempt is not None, f"{action.name} is {action.stage.name}"
        return action.attempt.worker

    def told(self, kind: type[Kind]) -> list[Kind]:
        """Return the orders of that kind, in order."""
        return [order for _, order in self.orders if isinstance(order, kind)]

    def started(self) -> list[str]:
        """Return the names of the actions that were started, in order."""
        return [order.attempt.action.name for order in self.told(Start)]

    def delivered(self, id_: bytes) -> list[Outcome]:
        """Return the outcomes of that action that attempts were shown."""
        return [order.outcome for order in self.told(Deliver) if order.id == id_]

    def recorded(self, id_: bytes, run: int = 1) -> ActionRow | None:
        """Return the action's row."""
        return self.journal.lookup(run, [id_]).get(id_)

    def outcome(self, action: Action) -> Outcome | None:
        """Return the recorded outcome."""
        row = self.recorded(action.id, action.run.key)
        return row.outcome if row else None

    def failure(self, action: Action) -> Failure:
        """Return the recorded failure."""
        outcome = self.outcome(action)
        assert outcome is not None, f"{action.name} is {action.stage.name}"
        assert outcome.failure is not None
        return outcome.failure

    def attempts(self) -> list[AttemptRow]:
        """Return the attempts that did not end their action."""
        return [row for row in self.rows if isinstance(row, AttemptRow)]

    def run_ends(self) -> list[RunEnd]:
        """Return what was written of runs."""
        return [row for row in self.rows if isinstance(row, RunEnd)]

    def restarted(self) -> "Driver":
        """SIGKILL of the controller; another one finds the journal."""
        cpu, after = self.machine.scheduler.ledger.capacity.cpu, self.machine.parking.after
        driver = Driver(cpu, self.journal, park_after=after)
        driver.now = self.now
        driver.machine.advance(self.now)
        return driver

    def flush(self) -> None:
        """Unfinished actions are written for people to see."""
        self.after(1.5)
        self.machine.flush()
        self.settle()


__all__ = ["Driver", "Stage", "Timeout", "error", "marked", "policy", "spec"]
