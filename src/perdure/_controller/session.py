"""One connection: first the token, then messages in and orders out."""

import asyncio
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from perdure._controller.answering import answer
from perdure._core.ids import DIGEST_BYTES
from perdure._core.lifecycle import Ended
from perdure._core.model import Outcome, TaskSpec
from perdure._core.orders import (
    Deliver,
    Interrupt,
    Order,
    Park,
    Quit,
    Room,
    Shut,
    Start,
    TakeBack,
    Tell,
    Unknown,
)
from perdure._core.outside import CONDITION
from perdure._core.records import ActionRow
from perdure._core.workers import Worker
from perdure._wire import messages as wire
from perdure._wire.framing import FrameReader, decode_from_worker, encode
from perdure._wire.lingering import LITTLE
from perdure._wire.requests import decode_requests

if TYPE_CHECKING:
    from perdure._controller.controller import Controller

_NOTHING: dict[bytes, bytes] = {}
_decode_hello = msgspec.msgpack.Decoder(list[wire.Hello]).decode


class Session(asyncio.Protocol):
    """What the controller knows about one peer.

    Attributes:
        worker: The worker, once it has said Hello.
        pid: Its process.
    """

    def __init__(self, controller: "Controller") -> None:
        self._controller = controller
        self._machine = controller.machine
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._receive: Callable[[bytes | memoryview], None] = self._receive_hello
        self._specs: dict[int, TaskSpec] = {}
        self._numbers: dict[TaskSpec, int] = {}
        self.worker: Worker | None = None
        self.pid = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            wire.Define: self._define,
            wire.Call: self._call,
            wire.Wish: self._wish,
            wire.Lookup: self._lookup,
            wire.Record: self._record,
            wire.Errand: self._errand,
            wire.Sleep: self._sleep,
            wire.Ask: self._ask,
            wire.MoreRecorded: self._more_recorded,
            wire.Done: self._done,
            wire.Blocked: self._blocked,
            wire.Unblocked: self._unblocked,
            wire.Returned: self._returned,
            wire.CancelCall: self._cancel_call,
            wire.Event: self._event,
            wire.StartedUp: self._started_up,
            wire.Worn: self._worn,
            wire.Left: self._left,
            wire.Stays: self._stays,
            wire.Began: self._began,
        }

    # --- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport; nothing is said before the peer has shown its token."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Handle complete frames."""
        self._controller.begin()
        try:
            for body in self._reader.feed(data):
                self._receive(body)
        except (msgspec.DecodeError, ValueError) as error:
            self._controller.peer_failed(self, error)
            self.close()
        finally:
            self._controller.settle()
        if len(data) < LITTLE:
            self._controller.linger()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the controller; everything the peer had sent before has been handled."""
        if self.worker is not None:
            self._controller.crew.connection_lost(self.worker)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def send(self, *messages: wire.Message) -> None:
        """Send messages in one frame."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(list(messages)))

    # --- in ---------------------------------------------------------------------------------------

    def _receive_hello(self, body: bytes | memoryview) -> None:
        (hello,) = _decode_hello(body)
        token = self._controller.token
        if not hmac.compare_digest(hello.token.encode(), token.encode()):
            raise ValueError("a peer had no valid token")
        if hello.protocol != wire.PROTOCOL:
            raise ValueError(f"a peer speaks protocol {hello.protocol}, not {wire.PROTOCOL}")
        if hello.worker == 0:
            self._receive = self._receive_request
            return
        self._receive = self._receive_messages
        self.pid = hello.pid
        self.worker = self._controller.crew.connected(self, hello.worker)
        if self.worker is None:
            self.close()

    def _receive_request(self, body: bytes | memoryview) -> None:
        for request in decode_requests(body):
            answer(self._controller, request, self.send)

    def _receive_messages(self, body: bytes | memoryview) -> None:
        handle = self._handlers
        for message in decode_from_worker(body):
            handle[type(message)](message)

    def _define(self, m: wire.Define) -> None:
        self._specs[m.task] = m.spec

    def _call(self, m: wire.Call) -> None:
        self._machine.call(
            m.parent, self._specs[m.task], m.id, m.inputs, m.needs, m.blobs, m.group, m.context,
            m.marks,
        )  # fmt: skip

    def _wish(self, m: wire.Wish) -> None:
        self._machine.backpressure.wish(m.parent, self._specs[m.task], m.id)

    def _lookup(self, m: wire.Lookup) -> None:
        self._machine.lookup(m.parent, m.id)

    def _record(self, m: wire.Record) -> None:
        outcome = Outcome(m.value, m.failure, m.value_blobs)
        row = ActionRow(
            run=0,
            seq=0,
            id=m.id,
            parent=0,
            task=m.name,
            created=m.started,
            kind="value" if m.name.startswith("durable.") else "trace",
            inputs=m.inputs,
            outcome=outcome,
            started=m.started,
            ended=m.ended,
            blobs=m.blobs,
            group=m.group,
        )
        self._machine.record(m.parent, row)

    def _errand(self, m: wire.Errand) -> None:
        self._machine.errand(m.parent, m.id, m.name, m.inputs, m.group, m.request)

    def _sleep(self, m: wire.Sleep) -> None:
        self._machine.sleep(m.parent, m.id, m.seconds, m.group)

    def _ask(self, m: wire.Ask) -> None:
        row = ActionRow(
            run=0,
            seq=0,
            id=m.id,
            parent=0,
            task=m.name,
            created=self._machine.now,
            kind=CONDITION,
            inputs=m.inputs,
            blobs=m.blobs,
            group=m.group,
        )
        self._machine.condition(m.parent, row, m.timeout)

    def _done(self, m: wire.Done) -> None:
        outcome = Outcome(m.value, m.failure, m.blobs)
        unclaimed = frozenset(
            m.unclaimed[at : at + DIGEST_BYTES] for at in range(0, len(m.unclaimed), DIGEST_BYTES)
        )
        ended = Ended(outcome, m.seconds, m.started, m.log, unclaimed, m.unfinished)
        self._machine.done(m.attempt, ended)

    def _more_recorded(self, m: wire.MoreRecorded) -> None:
        self._machine.more(m.attempt)

    def _blocked(self, m: wire.Blocked) -> None:
        self._machine.blocked(m.attempt, m.awaits, m.seen)

    def _unblocked(self, m: wire.Unblocked) -> None:
        self._machine.unblocked(m.attempt)

    def _returned(self, m: wire.Returned) -> None:
        assert self.worker is not None
        self._machine.returned(self.worker.number, m.attempts)

    def _cancel_call(self, m: wire.CancelCall) -> None:
        self._machine.cancel_call(m.parent, m.id)

    def _event(self, m: wire.Event) -> None:
        self._machine.event(m.attempt, m.kind, m.text)
        self._controller.event(m)

    def _started_up(self, m: wire.StartedUp) -> None:
        assert self.worker is not None
        self._machine.started_up(self.worker.number, m.failure, m.seconds)

    def _worn(self, _: wire.Worn) -> None:
        assert self.worker is not None
        self._machine.worn(self.worker.number)

    def _left(self, m: wire.Left) -> None:
        assert self.worker is not None
        self._machine.parking.left(self.worker.number, m.attempt, m.log, whole=m.whole)

    def _stays(self, m: wire.Stays) -> None:
        self._machine.parking.stays(m.attempt)

    def _began(self, m: wire.Began) -> None:
        attempt = self._machine.scheduler.attempts.get(m.attempt)
        if attempt is not None:
            self._machine.scheduler.queues.begun(attempt, self._machine.now)

    # --- out --------------------------------------------------------------------------------------

    def carry_out(self, orders: list[Order]) -> None:
        """Send the core's orders, in one frame."""
        out: list[wire.Message] = []
        for order in orders:
            if type(order) is Deliver:
                outcome = order.outcome
                out.append(wire.Resolved(order.parent, order.id, outcome.value, outcome.failure))
            elif type(order) is Start:
                self._assign(order, out)
            else:
                out.append(_plain(order))
        self.send(*out)

    def _assign(self, order: Start, out: list[wire.Message]) -> None:
        attempt = order.attempt
        action, queues = attempt.action, self._machine.scheduler.queues
        spec = action.task.spec
        number = self._numbers.get(spec)
        if number is None:
            number = self._numbers[spec] = len(self._numbers)
            out.append(wire.Define(number, spec))
        out.append(
            wire.Assign(
                attempt.handle,
                number,
                action.run.name,
                action.id,
                action.number,
                action.inputs,
                action.values or _NOTHING,
                attempt.replays,
                action.depth,
                action.charged > spec.retry.count,
                action.context,
                attempt.recollection is not None,
                action.run.created,
                bool(queues.active) and queues.counts(attempt),
            )
        )


def _plain(order: Order) -> wire.Message:
    match order:
        case Interrupt(attempt, reason):
            return wire.Cancel(attempt, reason)
        case Park(attempt):
            return wire.Leave(attempt)
        case TakeBack(attempts):
            return wire.Revoke(attempts)
        case Tell(parent, page):
            return wire.Recorded(parent, page.ids, page.values, page.last)
        case Unknown(parent, id_):
            return wire.Absent(parent, id_)
        case Room(parent, id_, open_):
            return wire.Room(parent, id_, open_)
        case Shut(queue):
            return wire.Shut(queue)
        case Quit():
            return wire.Stop()
    raise AssertionError(order)
