"""A simulated worker process, and the code it executes."""

import random
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perdure._core import failures
from perdure._core.ids import action_id, digest
from perdure._core.lifecycle import Ended
from perdure._core.machine import Machine, WorkerEnd
from perdure._core.model import Failure, Outcome
from perdure._core.orders import (
    Deliver,
    Interrupt,
    Park,
    Quit,
    Room,
    Shut,
    TakeBack,
    Tell,
    Unknown,
)
from perdure._core.records import ActionRow, Page
from simulation.programs import ALWAYS, MODULUS, Node, answer, mix

if TYPE_CHECKING:
    from simulation.shell import Shell

Command = Callable[[Machine], Any]
ABSENT = Outcome(value=b"absent")
FOR_EVER = 1e6
IGNORED = 0.02


class Failed(Exception):
    """A node's own failure, or a child's that it did not catch."""

    def __init__(self, path: str, *, retryable: bool) -> None:
        super().__init__(path)
        self.retryable = retryable


@dataclass
class Request:
    """What a body asks for at once, and what of it it waits for; ``None``: the end of time.

    For a ``step`` it waits where it is: it is not blocked.
    """

    calls: list[tuple[bytes, Command]]
    awaited: list[bytes] | None
    step: bool = False
    claimed: dict[bytes, Outcome] = field(default_factory=dict)


@dataclass
class Known:
    """What a body has been told of its calls ahead."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    more: bool = True
    asked: bool = True
    held: "Request | None" = None


@dataclass
class Body:
    """An attempt being executed."""

    handle: int
    action: bytes
    node: Node
    replay: bool
    code: "Generator[Request, list[Outcome], int]"
    known: Known | None = None
    waiting: dict[bytes, Outcome | None] = field(default_factory=dict)
    seen: int = 0
    said: bytes | None = None
    counts: bool = False
    started: bool = False
    blocked: bool = False
    in_step: bool = False
    to_make: deque[tuple[bytes, Command]] = field(default_factory=deque)
    wished: dict[bytes, Command] = field(default_factory=dict)
    calling: bool = False


def began(machine: Machine, handle: int) -> None:
    """The code of an attempt has begun."""
    attempt = machine.scheduler.attempts.get(handle)
    if attempt is not None:
        machine.scheduler.queues.begun(attempt, machine.now)


class SimWorker:
    """A process: takes orders in order, runs as many bodies at a time as its pool says, dies
    without a word."""

    def __init__(self, shell: "Shell", number: int, *, is_async: bool, concurrency: int) -> None:
        self.shell, self.world = shell, shell.world
        self.number, self.is_async, self.concurrency = number, is_async, concurrency
        self.alive = True
        self.bodies: dict[int, Body] = {}
        self.open: set[str] = set()
        self.link_up = self.link_down = 0.0

    # --- the connection ---------------------------------------------------------------------------

    def tell(self, command: Command) -> None:
        """Send a message home: it arrives after those sent before it."""
        world = self.world
        self.link_up = max(self.link_up, world.now + world.rng.uniform(0.0001, 0.002))
        self.shell.at(self.link_up, lambda: command(self.shell.machine))

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
                if not self.is_async and any(b.blocked for b in self.bodies.values()):
                    self.give_back((message.handle,))
                else:
                    self.run_next()
            case Deliver(parent, id_, outcome):
                self.world.observed(id_, outcome)
                self.delivered(parent, id_, outcome)
            case Tell(parent, page):
                self.told(parent, page)
            case Unknown(parent, id_):
                self.delivered(parent, id_, ABSENT)
            case Room(parent, id_, open_):
                self.let_through(parent, id_, open_)
            case Shut(queue):
                self.open.discard(queue)
            case TakeBack(handles):
                self.give_back(handles)
            case Park(handle):
                self.leave(handle)
            case Interrupt(handle, reason):
                self.interrupt(handle, reason)
            case Quit():
                self.die(guilty=False)

    def give_back(self, handles: tuple[int, ...]) -> None:
        back = tuple(h for h in handles if h in self.bodies and not self.bodies[h].started)
        for handle in back:
            del self.bodies[handle]
        self.tell(lambda m: m.returned(self.number, back))

    def interrupt(self, handle: int, reason: str) -> None:
        body = self.bodies.get(handle)
        if body is not None and not (body.node.stubborn and body.started):
            self.end(body, Failure("Cancelled", reason, code=reason, retryable=False))

    def leave(self, handle: int) -> None:
        """Leave an attempt that waits for its calls; a sync worker dies of it."""
        body = self.bodies.get(handle)
        if body is None:
            return
        rests = body.blocked and None in body.waiting.values() and not body.in_step
        rests = rests and not body.calling
        if not rests or self.world.rng.random() < 0.2:
            self.tell(lambda m: m.parking.stays(handle))
            return
        self.world.parked += 1
        whole = not self.is_async or (len(self.bodies) == 1 and self.world.rng.random() < 0.2)
        number = self.number
        self.tell(lambda m: m.parking.left(number, handle, (), whole=whole))
        del self.bodies[handle]
        if whole:
            self.die(guilty=False)

    def die(self, *, guilty: bool) -> None:
        """The process ends at once; the operating system tells, after what it had sent."""
        self.end_with(WorkerEnd(failures.worker_lost("died"), guilty=guilty))

    def end_with(self, end: WorkerEnd) -> None:
        """The process is ended; likewise."""
        self.alive = False
        self.tell(lambda m: m.worker_gone(self.number, end))

    # --- execution --------------------------------------------------------------------------------

    def run_next(self) -> None:
        """Start the next bodies, as long as not too many are running."""
        active = [b for b in self.bodies.values() if not b.blocked]
        running = sum(b.started for b in active)
        waiting = [b for b in active if not b.started]
        for body in waiting[: max(0, self.concurrency - running)]:
            self.start(body)

    def start(self, body: Body) -> None:
        body.started = True
        if body.counts:  # nobody knows how long its code takes to load
            loading = random.Random(body.handle).choice((0.0, 0.01, 0.15))
            self.world.at(self.world.now + loading, lambda: self.has(body) and self.begin(body))
        else:
            self.begin(body)

    def begin(self, body: Body) -> None:
        self.shell.executed(body)
        if body.counts:
            self.tell(lambda m: began(m, body.handle))
        body.code = execute(self, body)
        self.later(body, lambda: self.step(body, None))

    def has(self, body: Body) -> bool:
        """Whether this process lives and has not ended the body."""
        return self.alive and self.bodies.get(body.handle) is body

    def later(self, body: Body, then: Callable[[], None]) -> None:
        def resume() -> None:
            if self.has(body):
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
            self.end(body, Failure("Failed", str(error), retryable=error.retryable))
        else:
            self.wait(body, request)

    def told(self, parent: int, page: Page) -> None:
        """Recorded values have arrived ahead of the calls."""
        body = self.bodies.get(parent)
        if body is None or body.known is None:
            return
        known = body.known
        for id_, value in page.told().items():
            self.world.observed(id_, Outcome(value=value))
            known.values[id_] = value
        known.more, known.asked = not page.last, False
        if page.last:
            self.tell(lambda m: m.more(parent))
        held, known.held = known.held, None
        if held is not None:
            self.wait(body, held)

    def claim(self, body: Body, request: Request) -> bool:
        """Take what is known of the calls; False if more is to come before they can be made."""
        known = body.known
        if known is None:
            return True
        unknown = [id_ for id_, _ in request.calls if id_ not in known.values]
        if known.more and not known.asked and (unknown or len(known.values) < 2):
            known.asked = True
            self.tell(lambda m: m.more(body.handle))
        if known.more and unknown and self.world.rng.random() < 0.8:
            known.held = request
            return False
        for id_, _ in request.calls:
            if id_ in known.values:
                request.claimed[id_] = Outcome(value=known.values.pop(id_))
        return True

    def wait(self, body: Body, request: Request) -> None:
        if not self.claim(body, request):
            return
        request.calls = [call for call in request.calls if call[0] not in request.claimed]
        if request.awaited is not None and not any(
            id_ not in request.claimed for id_ in request.awaited
        ):
            got = [request.claimed[id_] for id_ in request.awaited]
            for _, command in request.calls:
                self.tell(command)
            self.later(body, lambda: self.step(body, got))
            return
        if request.awaited is not None:
            body.waiting = {id_: request.claimed.get(id_) for id_ in request.awaited}
            body.blocked, body.in_step = self.is_async and not request.step, request.step
        body.to_make = deque(request.calls)
        self.make_calls(body, then_waits=request.awaited is not None and not request.step)

    # --- calls ------------------------------------------------------------------------------------

    def make_calls(self, body: Body, *, then_waits: bool) -> None:
        """Make the calls for which there is room; a sync body makes one after the other."""
        held, body.calling = [], True
        while body.to_make:
            id_, command = body.to_make.popleft()
            follows = body.node.chained and bool(held or body.wished)
            if not follows and not self.must_wish(body, id_):
                self.tell(command)
            elif self.is_async:
                held.append((id_, command))
            else:
                self.wish(body, id_, command)
                break
        body.to_make.extend(held)
        self.wish_more(body)
        body.calling = bool(body.to_make or body.wished)
        if not self.is_async and (body.calling or (then_waits and None in body.waiting.values())):
            body.blocked = True
            self.give_back(tuple(h for h, b in self.bodies.items() if not b.started))
        self.go_on(body)
        self.run_next()

    def must_wish(self, body: Body, id_: bytes) -> bool:
        """Whether a call has to wait for room in its queue."""
        queue = self.world.nodes[id_].queue if id_ in self.world.nodes else ""
        if body.known is not None and body.known.more:
            return False
        return bool(queue) and queue not in self.open

    def wish(self, body: Body, id_: bytes, command: Command) -> None:
        body.wished[id_] = command
        spec = self.world.nodes[id_].spec
        self.tell(lambda m: m.backpressure.wish(body.handle, spec, id_))

    def wish_more(self, body: Body) -> None:
        """An async body asks for a few at a time, and in a chain for one."""
        while self.is_async and body.to_make and len(body.wished) < 1 + 2 * (not body.node.chained):
            id_, command = body.to_make.popleft()
            if self.world.nodes[id_].queue:
                self.wish(body, id_, command)
            else:
                self.tell(command)

    def let_through(self, parent: int, id_: bytes, open_: str) -> None:
        """There is room for a call."""
        if open_:
            self.open.add(open_)
        body = self.bodies.get(parent)
        if body is None:
            return
        body.seen += 1
        if body.said in (b"", id_):
            body.said = None
        command = body.wished.pop(id_, None)
        if command is None:
            return
        self.tell(command)
        if self.is_async:
            self.make_calls(body, then_waits=True)
            return
        body.blocked = False
        if body.said is not None:
            body.said = None
            self.tell(lambda m: m.unblocked(body.handle))
        self.later(body, lambda: self.make_calls(body, then_waits=bool(body.waiting)))

    def say_blocked(self, body: Body) -> None:
        """A sync body waits for one of its children, or says that any may let it go on."""
        missing = [id_ for id_, outcome in body.waiting.items() if outcome is None]
        if body.wished:
            missing = [*body.wished]
        if self.is_async or not body.blocked or body.said is not None or not missing:
            return
        said = body.said = missing[0] if self.world.rng.random() < 0.7 else b""
        seen = body.seen
        self.tell(lambda m: m.blocked(body.handle, said, seen))

    def delivered(self, parent: int, id_: bytes, outcome: Outcome) -> None:
        body = self.bodies.get(parent)
        if body is None:
            return
        body.seen += outcome is not ABSENT
        if body.said in (b"", id_):
            body.said = None
        if id_ in body.waiting:
            body.waiting[id_] = outcome
        self.go_on(body)

    def go_on(self, body: Body) -> None:
        """The body goes on if it has all that it waits for."""
        got = list(body.waiting.values())
        if not got or None in got or body.calling:
            self.say_blocked(body)
            return
        body.waiting = {}
        body.blocked = False
        if body.said is not None:
            body.said = None
            self.tell(lambda m: m.unblocked(body.handle))
        self.later(body, lambda: self.step(body, got))

    def end(self, body: Body, failure: Failure | None, value: int = 0) -> None:
        del self.bodies[body.handle]
        outcome = Outcome(failure=failure) if failure else Outcome(value=b"%d" % value)
        left = frozenset(body.known.values) if body.known is not None else frozenset()
        unmade = (*body.wished, *(id_ for id_, _ in body.to_make))
        ended = Ended(outcome, seconds=0.001, unclaimed=left, unfinished=unmade)
        self.tell(lambda m: m.done(body.handle, ended))
        self.run_next()


def execute(worker: SimWorker, body: Body) -> Generator[Request, Any, int]:
    """The function of a task, as a generator that yields what it waits for."""
    node, world = body.node, worker.world
    total = len(node.path)
    if node.endless:
        yield _nap(body, "endless", FOR_EVER)
    hangs = world.count_down(world.hung, node.path, node.hangs)
    if hangs and not node.groups:
        yield Request([], None)
    for group in node.groups:
        calls, awaited, left = _calls(worker, body, group)
        if hangs:
            yield Request(calls, None)
        outcomes = yield Request(calls, awaited)
        for id_ in left:
            worker.tell(lambda m, i=id_: m.cancel_call(body.handle, i))
        for child, outcome in zip([c for c in group if not c.endless], outcomes, strict=True):
            if node.strict and outcome.failure:
                raise Failed(node.path, retryable=outcome.failure.retryable)
            total = mix(total, None if outcome.failure else int(outcome.value), child)
    for nap in range(node.naps):
        yield _nap(body, str(nap), 0.05)
    for question in range(node.asks + node.ignored):
        (outcome,) = yield _question(worker, body, question)
        factor, value = (41, 3) if outcome.failure else (37, int(outcome.value))
        total = (total * factor + value) % MODULUS
    for step in range(node.steps):
        yield from _step(worker, body, step)
        total = (total * 31 + step) % MODULUS
    if world.count_down(world.flaws, node.path, node.fails):
        raise Failed(node.path, retryable=not (node.generous and node.fails == ALWAYS))
    return total


def _calls(
    worker: SimWorker, body: Body, group: list[Node]
) -> tuple[list[tuple[bytes, Command]], list[bytes], list[bytes]]:
    """Return the calls of a group, the ids to wait for and those to cancel afterwards."""
    calls: list[tuple[bytes, Command]] = []
    awaited: list[bytes] = []
    left: list[bytes] = []
    needs: tuple[bytes, ...] = ()
    for child in group:
        inputs = child.path.encode()
        id_ = action_id(body.action, child.spec.name, digest(inputs), 0)
        worker.world.nodes[id_] = child

        def call(m: Machine, i=id_, child=child, inputs=inputs, needs=needs) -> None:
            marks = None if needs else {}
            m.call(body.handle, child.spec, i, inputs, needs, marks=marks)

        calls.append((id_, call))
        (left if child.endless else awaited).append(id_)
        if body.node.chained and not child.endless:
            needs = (id_,)
    return calls, awaited, left


def _nap(body: Body, name: str, seconds: float) -> Request:
    id_ = action_id(body.action, "durable.sleep", digest(name.encode()), 0)
    return Request([(id_, lambda m: m.sleep(body.handle, id_, seconds))], [id_])


def _question(worker: SimWorker, body: Body, number: int) -> Request:
    node, world = body.node, worker.world
    id_ = action_id(body.action, "condition", digest(b"%d" % number), 0)
    row = ActionRow(
        run=0, seq=0, id=id_, parent=0, task="condition", created=world.now, kind="condition"
    )
    ignored = number >= node.asks
    if not ignored:
        world.asked(id_, answer(node, number))
    return Request(
        [(id_, lambda m: m.condition(body.handle, row, IGNORED if ignored else None))], [id_]
    )


def _step(worker: SimWorker, body: Body, step: int) -> Generator[Request, Any, None]:
    id_ = action_id(body.action, "trace", digest(b"%d" % step), 0)
    if body.replay:
        (known,) = yield Request([(id_, lambda m: m.lookup(body.handle, id_))], [id_], step=True)
        if known is not ABSENT:
            return
    now = worker.world.now
    worker.shell.ran(id_)
    row = ActionRow(
        run=0, seq=0, id=id_, parent=0, task="trace", created=now, kind="trace",
        outcome=Outcome(value=b"%d" % step), started=now, ended=now,
    )  # fmt: skip
    yield Request([(id_, lambda m: m.record(body.handle, row))], [id_], step=True)
