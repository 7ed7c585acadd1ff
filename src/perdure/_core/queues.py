"""Named queues: which of the work that names one may start, as far as this controller is concerned.

An attempt of a task with a queue holds a *slot* of it while it runs. One that waits for children
has given its slot back, and takes one again before it goes on: so parents and children may share a
queue of any size. Where slots are short, those who go on come before those who start.

A run that was given a queue is *admitted* by it: it has a slot from its first attempt to its end.
It lends that slot to one attempt at a time of its own tasks in that queue, so that these never wait
for a slot that only the end of their own run would free.

A run that waits to be admitted has a place, which is all that is kept of it if that takes long. One
that is *asleep* then is *summoned* when it is its turn: the slot is its own from then on, and the
shell takes it up. That takes longer than a short run. So those at the *head* stay awake, and who
comes there asleep is *called*: the shell takes it up ahead of its turn, and it keeps its place.

A start (of an attempt, or of a run) in a queue with a rate takes one of the starts it may make.

What a controller may use, it holds in the journal (``sharing.py``). It asks for more, gives back
what others need, and keeps for a moment what nobody else wants. While a question is under way it
starts nothing in that queue: the answer says what it has.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

import msgspec

from perdure._core.model import MANY
from perdure._core.sharing import Ask, Grant, QueueLimits, Stake
from perdure._core.turns import PERIOD, Turns
from perdure._core.wishes import Wishes

if TYPE_CHECKING:
    from perdure._core.state import Action, Attempt, Run, Task

NEWS_SECONDS = 0.25
"""How often a controller that uses a queue asks what others need of it."""

POLL_SECONDS = 0.05
"""How often one asks that waits for others."""

KEEP_SECONDS = 1.0
"""How long it keeps what it does not use, if nobody else needs it."""

HEAD = 16
"""So many of the runs that are to be admitted are awake: those that come first by priority."""

OWN, LENT = 1, 2
"""What an attempt holds: a slot of the queue, or that of its run."""


class Entrant(msgspec.Struct, eq=False, gc=False):
    """The place of a run that is to be admitted by a queue.

    Attributes:
        queue: The queue.
        name: Name of the run.
        priority: That of the run; ``index``: position of its root among all roots.
        run: The run; None: it is asleep, or this is not its place any more.
    """

    queue: "Queue"
    name: str
    priority: int
    index: int
    run: "Run | None" = None


class Queue:
    """What this controller knows and has of a queue.

    Attributes:
        name: Its name.
        limits: What was declared; None until the journal has told.
        held: Slots that this controller holds.
        allowed: How many of them it may go on using.
        used: Slots in use: by attempts, and by runs.
        tokens: Starts it may make.
        waiting: Actions that are ready, and runs that are to be admitted.
        entrants: The places of those runs, by priority.
        summoned: Runs that have a slot, and are asleep.
        head: The places of those that come first, as of the last placement.
        called: Of those that are asleep, and wait: who has been called.
        resuming: Attempts that wait for a slot to go on, by handle.
        lenders: Runs whose slot nobody has borrowed.
        others: What other controllers have of it.
        asked: A question is under way; ``told``: when the last one was answered.
        next_start: When there may be more starts, if those are lacking.
        last_used: When it was last seen in use here.
        starts: Those that the journal has not been told of.
        starting: Attempts and runs that have been given a start and have not begun to use it: a
            period without more of them begins when their code does.
        turns: Whose turn it is among the runs whose actions wait.
        wishes: Calls that are held back until fewer wait: see ``backpressure.py``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.limits: QueueLimits | None = None
        self.held = self.allowed = self.used = self.tokens = self.waiting = self.lenders = 0
        self.entrants: dict[int, deque[Entrant]] = {}
        self.summoned: set[Entrant] = set()
        self.head: dict[Entrant, None] = {}
        self.called: set[Entrant] = set()
        self.resuming: dict[int, Attempt] = {}
        self.others: tuple[Stake, ...] = ()
        self.asked = False
        self.told = self.last_used = self.next_start = 0.0
        self.starts: list[tuple[float, int]] = []
        self.starting: set[Attempt | Run | Entrant] = set()
        self.turns = Turns()
        self.wishes = Wishes()
        self._oldest: list[tuple[tuple[int, ...], int, Attempt]] = []
        self._admissions = 0
        self._has_admitted = self._has_left = self._has_moved = False

    # --- what may start ---------------------------------------------------------------------------

    @property
    def priority(self) -> int:
        """Of its work, compared with that of other queues."""
        return self.limits.priority if self.limits is not None else 0

    @property
    def is_rated(self) -> bool:
        """Whether only so many may start in a period."""
        return self.limits is not None and self.limits.starts > 0

    @property
    def slots(self) -> int:
        """How many more slots this controller may use now."""
        if self.limits is None or self.asked:
            return 0
        if not self.limits.concurrency:
            return MANY
        return min(self.held, self.allowed) - self.used

    @property
    def startable(self) -> int:
        """How many starts it may make now, slots aside."""
        if self.limits is None or self.asked:
            return 0
        return self.tokens if self.limits.starts else MANY

    @property
    def room(self) -> int:
        """How many attempts may start now, besides those that wait to go on."""
        return max(0, min(self.slots - len(self.resuming), self.startable))

    @property
    def calls(self) -> int:
        """How many of those that wait are actions; the others are runs."""
        return self.waiting - sum(len(places) for places in self.entrants.values())

    @property
    def has_room(self) -> bool:
        """Whether another call may be made that is to wait here."""
        if self.limits is None:
            return False
        depth = self.limits.depth
        return not depth or self.calls + len(self.wishes.promised) < depth

    def lends(self, run: "Run") -> bool:
        """Whether the run has a slot that one of its attempts could have."""
        return run.queue is self and run.admitted and run.borrower is None

    def may_start(self, run: "Run") -> bool:
        """Whether an action of the run may start."""
        return self.room > 0 or (self.lends(run) and self.startable > 0)

    # --- slots ------------------------------------------------------------------------------------

    def start(self, attempt: "Attempt", now: float) -> None:
        """An attempt starts; it may."""
        self._count_start(attempt, now)
        self._has_admitted = False
        self._take(attempt)

    def unstart(self, attempt: "Attempt") -> None:
        """An attempt was given back unstarted."""
        self.give(attempt)
        self._take_back(attempt)

    def _count_start(self, what: "Attempt | Run | Entrant", now: float) -> None:
        self.last_used = now
        if self.is_rated:
            self.tokens -= 1
            self.starting.add(what)

    def _take_back(self, what: "Attempt | Run | Entrant") -> None:
        if what in self.starting:
            self.starting.remove(what)
            self.tokens += 1

    def begun(self, what: "Attempt | Run", now: float) -> None:
        """The code of an attempt has begun, or that of a run; or nobody knows whether it has."""
        if what not in self.starting:
            return
        self.starting.remove(what)
        if self.starts and self.starts[-1][0] == now:
            self.starts[-1] = (now, self.starts[-1][1] + 1)
        else:
            self.starts.append((now, 1))

    def _take(self, attempt: "Attempt") -> None:
        run = attempt.action.run
        if self.lends(run):
            attempt.slot, run.borrower = LENT, attempt
            self.lenders -= 1
        else:
            attempt.slot = OWN
            self.used += 1

    def give(self, attempt: "Attempt") -> None:
        """An attempt gives back what it has, or asks for nothing more."""
        if attempt.slot == LENT:
            attempt.action.run.borrower = None
            self.lenders += 1
        elif attempt.slot == OWN:
            self.used -= 1
        else:
            self.resuming.pop(attempt.handle, None)
        attempt.slot = 0

    # --- attempts that go on ----------------------------------------------------------------------

    def resume(self, attempt: "Attempt") -> bool:
        """Take a slot for an attempt to go on with; if there is none, remember that it waits."""
        if self.lends(attempt.action.run) or self.slots > len(self.resuming):
            self._take(attempt)
            return True
        self.resuming[attempt.handle] = attempt
        heapq.heappush(self._oldest, (attempt.action.order, attempt.handle, attempt))
        return False

    def resumed(self) -> Iterator["Attempt"]:
        """Give those who wait to go on slots as far as there are some; yield them."""
        while self._oldest and (self.slots > 0 or not self._waits(self._oldest[0][2])):
            attempt = heapq.heappop(self._oldest)[2]
            if self._waits(attempt):
                yield self._go_on(attempt)
        if self.lenders and self.resuming:
            for attempt in [*self.resuming.values()]:
                if self.lends(attempt.action.run):
                    yield self._go_on(attempt)

    def _waits(self, attempt: "Attempt") -> bool:
        return self.resuming.get(attempt.handle) is attempt

    def _go_on(self, attempt: "Attempt") -> "Attempt":
        del self.resuming[attempt.handle]
        self._take(attempt)
        return attempt

    # --- runs -------------------------------------------------------------------------------------

    def enter(self, root: "Action") -> None:
        """A run asks to be admitted, if it has not asked already."""
        run = root.run
        root.is_entrant = True
        if run.entrant is None:
            run.entrant = Entrant(self, run.name, run.priority, root.index, run)
            self.entrants.setdefault(run.priority, deque()).append(run.entrant)
            self.waiting += 1
            self._has_moved = True

    def withdraw(self, run: "Run") -> None:
        """A run is not to be admitted any more, unless it keeps its place."""
        entrant, run.entrant = run.entrant, None
        if entrant is not None:
            entrant.run = None
            self._remove(entrant)

    def _remove(self, entrant: Entrant) -> None:
        places = self.entrants[entrant.priority]
        places.remove(entrant)
        if not places:
            del self.entrants[entrant.priority]
        self.called.discard(entrant)
        self.waiting -= 1
        self._has_moved = True

    def admit(self, now: float, *, in_turn: bool) -> Iterator["Run | Entrant"]:
        """Admit runs as far as there is room; yield them, of those that are asleep the place.

        Args:
            now: The time.
            in_turn: Where actions wait, too, only one at a time: the next start is one of theirs.
        """
        while self.entrants and self.room > 0:
            if in_turn and self._has_admitted and self.calls:
                return
            entrant = self._next_entrant()
            run = entrant.run
            if run is not None:
                self.withdraw(run)
                if run.closed:
                    continue
                run.admitted = True
            else:
                self._remove(entrant)
                self.summoned.add(entrant)
            self._count_start(run or entrant, now)
            self._has_admitted = True
            self.used += 1
            self.lenders += 1
            yield run or entrant

    def _next_entrant(self) -> Entrant:
        """Return the first of the highest priority; or, now and then, the first of all."""
        self._admissions += 1
        if self._admissions % PERIOD:
            return self.entrants[max(self.entrants)][0]
        return min((places[0] for places in self.entrants.values()), key=_position)

    def leave(self, run: "Run") -> None:
        """A run has ended, or is not driven here any more."""
        if not run.admitted:
            self.withdraw(run)
            return
        run.admitted = False
        self._take_back(run)
        if run.borrower is not None:  # it is being stopped, and has the slot until then
            run.borrower.slot, run.borrower = OWN, None
        else:
            self.used -= 1
            self.lenders -= 1

    # --- runs that are asleep ---------------------------------------------------------------------

    @property
    def asleep(self) -> list[Entrant]:
        """The places of those that wait."""
        return [each for places in self.entrants.values() for each in places if each.run is None]

    def awake(self) -> Iterator["Run"]:
        """Yield the runs that wait, the youngest first, back to the first that is asleep."""
        for places in self.entrants.values():
            for entrant in reversed(places):
                if entrant.run is None:
                    break
                yield entrant.run

    def call(self) -> Iterator[Entrant]:
        """See who has come to the head; yield the places of those that are asleep, each once."""
        if not self._has_moved:
            return
        self._has_moved = False
        lines = (self.entrants[priority] for priority in heapq.nlargest(HEAD, self.entrants))
        self.head = dict.fromkeys(islice(chain.from_iterable(lines), HEAD))
        for entrant in self.head:
            if entrant.run is None and entrant not in self.called:
                self.called.add(entrant)
                yield entrant

    def arrive(self, run: "Run", entrant: Entrant) -> None:
        """A run that was asleep is taken up again."""
        if entrant in self.summoned:
            self.summoned.remove(entrant)
            run.admitted = True
            if entrant in self.starting:
                self.starting.remove(entrant)
                self.starting.add(run)
        elif entrant in self.entrants.get(entrant.priority, ()):
            entrant.run, run.entrant = run, entrant
            self.called.discard(entrant)

    def abandon(self, entrant: Entrant) -> None:
        """A run that is asleep is not driven here any more."""
        if entrant in self.summoned:
            self.summoned.remove(entrant)
            self._take_back(entrant)
            self.used -= 1
            self.lenders -= 1
        elif entrant in self.entrants.get(entrant.priority, ()):
            self._remove(entrant)

    # --- what others have -------------------------------------------------------------------------

    @property
    def contended(self) -> bool:
        """Whether somebody else could use more of it than they have."""
        return any(stake.lacks for stake in self.others)

    @property
    def lacking(self) -> bool:
        """Whether something waits here for a slot, or for a start."""
        return bool(self.resuming) or (self.waiting > 0 and self.room <= 0)

    @property
    def is_idle(self) -> bool:
        """Whether nothing here uses it, or waits for it."""
        return not (self.used or self.waiting or self.resuming or self.wishes.waiting)

    @property
    def due(self) -> float:
        """When to ask next."""
        limits = self.limits
        if limits is None:
            return self.told + NEWS_SECONDS if self.told else 0.0
        if limits.concurrency and self.held > max(self.used, self.allowed):
            return 0.0  # others are to have what is no longer in use here
        news, poll = self.told + NEWS_SECONDS, self.told + POLL_SECONDS
        if self.is_idle:
            return poll if self.contended else max(poll, self.last_used + KEEP_SECONDS)
        if not self.lacking:
            return news
        if self.others:
            return poll
        if limits.starts and not self.tokens:
            return min(news, self.next_start)
        return 0.0 if self.held < min(limits.concurrency, self._useful) else news

    @property
    def _useful(self) -> int:
        return self.used + len(self.resuming) + self.waiting

    def ask(self, now: float, priority: int) -> Ask:
        """Return what to ask; ``priority`` is the highest of the work that waits."""
        wanted, hoped = self._useful, self.waiting
        if not self.is_idle:
            self.last_used = now
        if self.contended and self.room > 0:
            hoped = min(1, self.waiting)  # it is something else that they wait for
            wanted = self.used + len(self.resuming) + hoped
        elif not self.contended and now - self.last_used < KEEP_SECONDS:
            wanted = max(wanted, self.held)
        if self.limits is not None and self.limits.concurrency:
            wanted = min(wanted, self.limits.concurrency)
        starts, self.starts = tuple(self.starts), []
        self.asked = True
        self._has_left = not (wanted or hoped)
        starting = len(self.starting)
        return Ask(self.name, self.used, wanted, hoped, starts, self.waiting, priority, starting)

    def last_words(self, now: float) -> Ask:
        """Return what to tell when nothing is going to be asked any more."""
        lost = ((now, len(self.starting)),) if self.starting else ()
        return Ask(self.name, starts=(*self.starts, *lost))

    def granted(self, grant: Grant, now: float) -> None:
        """The journal's answer."""
        self.asked, self.told = False, now
        self.limits, self.others = grant.limits, grant.others
        self.held, self.allowed, self.tokens = grant.held, grant.allowed, grant.tokens
        self.next_start = grant.next_start

    @property
    def is_over(self) -> bool:
        """Whether the journal knows that this controller has nothing of it, and wants nothing."""
        has = self.held or self.tokens or self.starts or self.starting
        return self._has_left and self.is_idle and not has

    def forget_limits(self) -> None:
        """It has not been in use for a while: ask at once what holds now."""
        self.limits, self.told = None, 0.0

    def unanswered(self, ask: Ask, now: float) -> None:
        """The journal could not be asked; try again later."""
        self.asked, self.told = False, now
        self.starts[:0] = ask.starts


def _position(entrant: Entrant) -> int:
    return entrant.index


def waits_in(queue: Queue, task: "Task", action: "Action") -> bool:
    """Whether a ready action of a task waits in the queue, or its run is to be admitted by it."""
    return (action.run.queue if action.is_entrant else task.lane.queue) is queue
