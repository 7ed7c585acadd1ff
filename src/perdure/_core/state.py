"""The controller's memory: runs, actions in flight, attempts. Workers are in ``workers.py``.

Plain mutable records. Only actions without a recorded outcome live here (and, briefly, those
whose outcome has just been recorded), so memory follows the work in flight, not the work done.

Actions and attempts are many, and the garbage collector does not look at them: it would walk the
whole backlog again and again. So what ends or is dropped leaves no circle of references behind.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import msgspec

from perdure._core.ledger import Share, Space
from perdure._core.model import (
    MANY,
    Demand,
    InputMark,
    LogSpan,
    Origin,
    Outcome,
    TaskSpec,
)
from perdure._core.orders import Deliver, Room
from perdure._core.queues import Entrant, Queue
from perdure._core.recollection import Recollection
from perdure._core.timers import Timer
from perdure._core.transitions import MOVES, IllegalMoveError, Stage
from perdure._core.wishes import Wish
from perdure._core.workers import Pool, Worker

CALLED_LIMIT = 100_000
"""Calls of a replaying attempt that are kept by id; beyond it, only their number is."""


@dataclass(slots=True, eq=False)
class Task:
    """A task spec as the controller knows it: with its lane and what was observed of it.

    Attributes:
        spec: The spec.
        lane: Where its attempts queue.
        shortage: Why no node could ever meet its demand, or "".
        modest: It asks for cores that there are, and for nothing else.
        seconds: Moving average of an attempt's duration; None before the first.
        makes_calls: An attempt of it, in whichever run, has waited for calls: it orchestrates.
    """

    spec: TaskSpec
    lane: "Lane"
    shortage: str = ""
    seconds: float | None = None
    makes_calls: bool = False
    modest: bool = field(init=False)

    def __post_init__(self) -> None:
        self.modest = not self.shortage and self.lane.share.names <= {"cpu"}

    @property
    def timed(self) -> bool:
        """Whether its attempts must not wait in a worker's queue, where their start is unseen."""
        return self.spec.timeout.max_runtime is not None


class Keyed(msgspec.Struct, eq=False, gc=False):
    """What is known of a cached action's key, and what came of asking for it.

    Attributes:
        inputs: What the key says of each input; None while the shell has to find it out.
        key: The key; b"" until the cache was asked, or if it cannot be known.
        verdict: What the cache said: see :class:`~perdure._core.model.CacheNote`.
        origin: Where the value was made, if it was kept.
        claim: Number of the question whose answer made it the one of its key that runs; or 0.
        pause: Seconds it waited before it asked for the last time.
    """

    inputs: dict[str, InputMark] | None = None
    key: bytes = b""
    verdict: str = ""
    origin: Origin | None = None
    claim: int = 0
    pause: float = 0.0


class Action(msgspec.Struct, eq=False, gc=False):
    """A durable node of a run that has no recorded outcome yet.

    Attributes:
        id: Its identity.
        run: Its run.
        parent: The calling action; None for the root.
        name: Task or step name.
        kind: ``task``, ``trace``, ``sleep``, ``condition``.
        index: Position among the calls of the parent's attempt; decides the order of work.
        task: What to execute; None for all that is no task.
        seq: Place in the journal, 0 until its first row is written.
        waiter: The parent's attempt that waits for the outcome, if any.
        dependents: Actions whose inputs hold this one's future.
        missing: Futures in the inputs that have no outcome yet.
        values: Encoded values of those that have, by action id.
        children: Actions called by this one, without recorded outcome.
        charged: Attempts charged to the retry budget, the current one included.
        losses: Attempts lost to no fault of its own since it last made progress.
        progress: A child's outcome was recorded since the last loss.
        total_losses: The same, since ever.
        company: How many may run where it runs: less after each crash it may have caused.
        ending: Why it is being stopped: a time limit's name or a message, once it is.
        queued_at: When it was last ready; while it backs off, when it will be.
        timers: What is to happen to it at certain times, unless it has ended.
        again: An earlier attempt of it, under this controller, has made calls.
        behind: Where it queues after it was stopped for what it kept; (): at its own place.
        called_again: A later attempt of the parent has called it while it was being stopped.
        cache: What is known of its key, if its value is kept for all runs.
        resumes: It was parked: its next attempt has the number, start and limits of the last one.
        is_entrant: It is the root of a run that its queue has not admitted yet.
    """

    id: bytes
    run: "Run"
    parent: "Action | None"
    name: str
    kind: str
    created: float
    index: int = 0
    depth: int = 0
    task: Task | None = None
    inputs: bytes = b""
    blobs: tuple[bytes, ...] = ()
    group: str = ""
    context: bytes = b""
    stage: Stage = Stage.WAITING
    seq: int = 0
    waiter: "Attempt | None" = None
    attempt: "Attempt | None" = None
    outcome: Outcome | None = None
    needs: tuple[bytes, ...] = ()
    missing: int = 0
    values: dict[bytes, bytes] | None = None
    dependents: "list[Action] | None" = None
    children: "dict[bytes, Action] | None" = None
    replay: bool = False
    retry_failed: bool = False
    charged: int = 0
    losses: int = 0
    total_losses: int = 0
    company: int = MANY
    progress: bool = False
    started: float | None = None
    ended: float | None = None
    queued_at: float = 0.0
    wake_at: float | None = None
    worker: int = 0
    log: tuple[LogSpan, ...] = ()
    ending: str = ""
    again: bool = False
    behind: tuple[int, ...] = ()
    called_again: bool = False
    timers: list[Timer] | None = None
    cache: Keyed | None = None
    resumes: bool = False
    is_entrant: bool = False

    def __repr__(self) -> str:  # the default one walks through the whole run
        return f"<Action {self.name} {self.id.hex()[:12]} {self.stage.name}>"

    def move(self, stage: Stage) -> None:
        """Go to another stage.

        Raises:
            IllegalMoveError: The table has no such move.
        """
        if stage not in MOVES[self.stage]:
            raise IllegalMoveError(
                f"{self.name} {self.id.hex()} of run {self.run.name}: "
                f"{self.stage.name} -> {stage.name} "
                f"(charged {self.charged}, lost {self.total_losses}, ending {self.ending!r})"
            )
        self.stage = stage

    @property
    def number(self) -> int:
        """0-based number of the current attempt, lost ones counted."""
        return self.charged - 1 + self.total_losses

    @property
    def first_of_all(self) -> bool:
        """Whether no earlier attempt of it, or of what is above it, can have made its calls."""
        action: Action | None = self
        while action is not None and not action.again:
            action = action.parent
        return action is None

    @property
    def order(self) -> tuple[int, ...]:
        """Place in the order in which sequential code would do the work."""
        path = []
        action: Action | None = self
        while action is not None:
            path.append(action.index)
            action = action.parent
        return tuple(reversed(path))


class Attempt(msgspec.Struct, eq=False, gc=False):
    """One try of an action on one worker.

    Attributes:
        handle: Its name on the wire, unique for the life of the controller.
        outstanding: Calls it has made that are not resolved yet.
        blocked: It waits for children and has given its cpu share back.
        awaits: Child that ends the wait of a sync attempt; b"": any.
        delivered: Outcomes it has been told.
        resuming: It could go on, once its cpu share is free; ``held``: what it is told then.
        calls: Calls it has made.
        replays: Its calls are recalled from the journal first.
        called: Ids of its calls, if it replays, up to ``CALLED_LIMIT`` of them.
        recollection: What its worker is told ahead of its calls, if anything is.
        kept_space: What it keeps of its node while it is blocked, and afterwards.
        limit: Its ``max_runtime``.
        slot: What it holds of its task's queue: see ``queues.py``; 0: nothing.
        wishes: Calls that it holds back, by id.
    """

    handle: int
    action: Action
    worker: Worker
    replays: bool = False
    outstanding: int = 0
    blocked: bool = False
    awaits: bytes = b""
    delivered: int = 0
    resuming: bool = False
    held: list[Deliver | Room] | None = None
    calls: int = 0
    called: set[bytes] | None = None
    recollection: Recollection | None = None
    kept_space: Space = ()
    limit: Timer | None = None
    slot: int = 0
    wishes: dict[bytes, Wish] | None = None

    def __repr__(self) -> str:
        return f"<Attempt {self.handle} of {self.action.name} {self.action.id.hex()[:12]}>"

    def must_wait(self, awaits: bytes, seen: int | None) -> bool:
        """Whether nothing is on its way that ends the wait, of which it has seen so much."""
        if not awaits:
            return seen is None or seen == self.delivered
        child = self.action.run.actions.get(awaits)
        wish = self.wishes.get(awaits) if self.wishes else None
        return child is not None and child.waiter is self if wish is None else not wish.granted

    def wakes(self, child: bytes) -> bool:
        """Whether the outcome of this child lets it go on."""
        if self.worker.pool.is_async:
            return not self.outstanding
        return not self.awaits or self.awaits == child

    def has_called(self, child: bytes, seq: int) -> bool:
        """Whether it has called the child that is recorded at ``seq``."""
        told = self.recollection
        if told is not None and told.claimed(child, seq):
            return True
        return self.called is not None and child in self.called


@dataclass(slots=True, eq=False)
class Lane:
    """Ready actions that are interchangeable for placement: same pool, same demand, same queue."""

    pool: Pool
    demand: Demand
    queue: Queue | None = None
    share: Share = field(init=False)
    queues: "dict[Run, RunQueue]" = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.share = Share(self.demand)


@dataclass(slots=True, eq=False)
class RunQueue:
    """The ready actions of one run in one lane, grouped by parent, in sequential order.

    One that has to queue behind others is a group of its own.
    """

    heap: list[tuple[tuple[int, ...], int, Action | None]] = field(default_factory=list)
    groups: "dict[Action | None, deque[Action]]" = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Run:
    """A run that is being driven.

    Attributes:
        key: Its number in the journal.
        epoch: Lease epoch under which it is driven.
        created: When it was asked for, in wall-clock seconds.
        recover: Keys of earlier runs whose outcomes it may reuse.
        force: Tasks that are never reused from an earlier run.
        strict: A diverging replay fails the run.
        env_vars: Set in all its worker processes.
        cache: How it uses the cache: see :class:`~perdure._core.model.RunOptions`.
        mixed: Its code has changed since it, or the run it reuses outcomes of, was started.
        consults: How often the cache was asked.
        actions: In flight, by id.
        next_seq: Next free place in the journal.
        dirty: Actions with an attempt behind them that changed since they were last flushed.
        backlog: Queued actions that have not been flushed.
        awaited: Actions whose inputs need an outcome the journal was asked for.
        recent: Outcomes recorded a moment ago, for calls that crossed their delivery.
        answers: Outcomes of conditions that were answered before they were asked again.
        root: Id of the root action; ``outcome``: of that, once decided; likewise ``ended``.
        remarks: What was said about images of its tasks.
        closed: Nothing new may start.
        priority: Of its work, compared with other runs; ``last_turn``: number of its last turn.
        queue: What admits it; ``entrant``: its place; ``borrower``: the attempt with its slot.
    """

    key: int
    name: str
    epoch: int
    bundle: int = 0
    context: bytes = b""
    created: float = 0.0
    recover: int = 0
    force: tuple[str, ...] = ()
    strict: bool = False
    env_vars: dict[str, str] = field(default_factory=dict)
    cache: str = ""
    mixed: bool = False
    consults: int = 0
    actions: dict[bytes, Action] = field(default_factory=dict)
    next_seq: int = 1
    dirty: dict[bytes, Action] = field(default_factory=dict)
    backlog: dict[bytes, Action] = field(default_factory=dict)
    recent: OrderedDict[bytes, Outcome] = field(default_factory=OrderedDict)
    awaited: dict[bytes, list[Action]] = field(default_factory=dict)
    answers: dict[bytes, Outcome] = field(default_factory=dict)
    root: bytes = b""
    tasks: dict[TaskSpec, Task] = field(default_factory=dict)
    running: int = 0
    remarks: tuple[str, ...] = ()
    outcome: Outcome | None = None
    ended: float | None = None
    closed: bool = False
    priority: int = 0
    queue: Queue | None = None
    entrant: Entrant | None = None
    admitted: bool = False
    borrower: Attempt | None = None
    last_turn: int = 0
