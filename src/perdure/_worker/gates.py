"""Calls that wait in the worker until there is room in their queue (see ``_core/backpressure.py``).

In each queue the calls of an attempt are made in order. A call that has the future of one that is
held back among its arguments follows it, whatever its own queue: the controller must not hear of
the second one first. Who made the call goes on, or waits, as its code says: see ``Future.enter``.

A call that is cancelled while it is held back is not made, unless another call needs it, then or
later: that one has to fail as with any call that was cancelled, and the journal to say why. Then it
is made without room, and cancelled at once. Its future keeps it for that.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from perdure._api.future import Future, make_future
from perdure._api.scope import Scope
from perdure._wire.messages import Call, CancelCall, Wish
from perdure._worker.known import Known

if TYPE_CHECKING:
    from perdure._worker.session import Session

WISHES = 64
"""Calls in one queue that an attempt asks for at a time: the next are here when one is let in."""


def must_ask(queue: str, session: "Session", known: Known | None) -> bool:
    """Whether a call in the queue is to be held back until there is room.

    It is not as long as an attempt that is replayed has not been told all that is recorded: when it
    has, it says so, and the controller relies on it that what was told is not called any more.
    """
    return queue not in session.open_queues and not (known is not None and known.more)


class Held:
    """A call that is held back.

    Attributes:
        call: It.
        queue: Its queue, or "".
        cancelled: It is only made because others need it.
        room: What somebody waits for until the call is made.
        followers: Calls that are made after it.
    """

    __slots__ = ("__weakref__", "call", "cancelled", "followers", "queue", "room")

    def __init__(self, call: Call, queue: str) -> None:
        self.call, self.queue = call, queue
        self.cancelled = False
        self.room: Future[Any] | None = None
        self.followers: list[Held] = []


class Gate:
    """The calls of an attempt in one queue: those that were asked for, and those behind them."""

    __slots__ = ("asked", "line")

    def __init__(self) -> None:
        self.asked: OrderedDict[bytes, Held] = OrderedDict()
        self.line: OrderedDict[bytes, Held] = OrderedDict()


class Gates:
    """The calls of one attempt that are held back. Everything here needs the session's lock.

    Args:
        handle: Of the attempt.
        session: Its worker's.
    """

    __slots__ = ("_gates", "_handle", "_held", "_session", "_withdrawn")

    def __init__(self, handle: int, session: "Session") -> None:
        self._handle, self._session = handle, session
        self._held: dict[bytes, Held] = {}
        self._withdrawn: WeakValueDictionary[bytes, Held] = WeakValueDictionary()
        self._gates: dict[str, Gate] = {}

    def __bool__(self) -> bool:
        """Whether anything is held back."""
        return bool(self._held)

    def make(self, call: Call, queue: str) -> None:
        """Make a call, now or when there is room for it."""
        made = Held(call, queue)
        ahead = [(made, iter(call.needs))]
        while ahead:  # those that were withdrawn come first, and those that they need before them
            held, needs = ahead[-1]
            withdrawn = self._next_withdrawn(needs)
            if withdrawn is not None:
                ahead.append((withdrawn, iter(withdrawn.call.needs)))
                continue
            ahead.pop()
            self._held[held.call.id] = held
            if not self._waits(held):
                self._send(held)

    def _next_withdrawn(self, needs: Iterator[bytes]) -> Held | None:
        """Return the first of some calls that was not made because it was cancelled."""
        if not self._withdrawn:
            return None
        found = (self._withdrawn.pop(need, None) for need in needs)
        return next((each for each in found if each is not None), None)

    def _waits(self, held: Held) -> bool:
        """Let a call follow one that it needs, or line up in its queue, if it has to."""
        before = next((need for need in held.call.needs if need in self._held), None)
        if before is not None:
            self._held[before].followers.append(held)
            return True
        if held.cancelled or not held.queue or held.queue in self._session.open_queues:
            return False
        gate = self._gates.setdefault(held.queue, Gate())
        gate.line[held.call.id] = held
        self._ask(gate)
        return True

    def _ask(self, gate: Gate) -> None:
        while gate.line and len(gate.asked) < WISHES:
            action, held = gate.line.popitem(last=False)
            gate.asked[action] = held
            self._session.messages.append(Wish(self._handle, held.call.task, action))

    def _send(self, first: Held) -> None:
        ready = [first]
        while ready:  # chains of calls that need each other may be long
            held = ready.pop()
            if self._held.pop(held.call.id, None) is None:
                continue  # it was cancelled, and then needed, and so came twice
            self._session.messages.append(held.call)
            if held.cancelled:
                self._session.messages.append(CancelCall(self._handle, held.call.id))
            if held.room is not None:
                held.room.settle(None, None)
            here = [each for each in held.followers if each.call.id in self._held]
            ready += reversed([each for each in here if not self._waits(each)])

    def let_through(self, action: bytes) -> None:
        """There is room for a call, unless it has been cancelled; or its queue is open now."""
        held = self._held.get(action)
        gate = self._gates.get(held.queue) if held is not None else None
        if held is None or gate is None or gate.asked.pop(action, None) is None:
            return
        self._send(held)
        if held.queue in self._session.open_queues:
            for each in [*gate.asked.values(), *gate.line.values()]:
                self._send(each)
            gate.asked.clear()
            gate.line.clear()
        self._ask(gate)

    def cancel(self, future: Future[Any]) -> bool:
        """A call was cancelled; return False if it has been made, and the controller must hear."""
        action = future.action_id
        held = self._held.get(action)
        if held is None:
            return False
        held.cancelled = True
        gate = self._gates.get(held.queue, Gate())
        asked = gate.asked.pop(action, None) is not None
        is_next = gate.line.pop(action, None) is not None or asked
        if not any(follower.call.id in self._held for follower in held.followers):
            del self._held[action]
            self._withdrawn[action] = future.withdrawn = held
            if asked:
                self._session.messages.append(CancelCall(self._handle, action))
        elif is_next:
            self._send(held)
        if held.room is not None:
            held.room.settle(None, None)
        self._ask(gate)
        return True

    def room(self, action: bytes, scope: Scope) -> Future[Any] | None:
        """Return what is settled when the call has been made, or is not going to be."""
        held = self._held.get(action)
        if held is None:
            return None
        held.room = held.room or make_future(scope, b"", "")
        return held.room

    def rooms(self) -> list[Future[Any]]:
        """Return what those wait for who wait for room."""
        return [held.room for held in self._held.values() if held.room is not None]
