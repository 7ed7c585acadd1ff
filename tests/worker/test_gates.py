"""Calls that wait in the worker for room in their queue: the worker's part of the protocol."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from perdure._api.future import ThreadFuture
from perdure._core.ids import digest
from perdure._serde import dumps
from perdure._wire.messages import (
    Blocked,
    Call,
    Cancel,
    CancelCall,
    Define,
    Message,
    Resolved,
    Room,
    Shut,
)
from perdure._wire.messages import Wish as Wished
from perdure._worker.gates import WISHES, Gates, must_ask
from perdure._worker.known import Known


class Desk:
    """The gates of one attempt, and what its worker says."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.open_queues: set[str] = set()
        self.futures: list[Any] = []
        self.gates = Gates(7, self)  # type: ignore[arg-type]  # as much of a session as matters

    def make(self, name: str, queue: str = "q", *needs: str) -> None:
        self.gates.make(Call(7, 1, ident(name), b"", tuple(map(ident, needs))), queue)

    def cancel(self, name: str) -> bool:
        """Cancel a call; its future is kept, as by somebody who may yet pass it on."""
        future: Any = SimpleNamespace(action_id=ident(name))
        self.futures.append(future)
        return self.gates.cancel(future)

    def room(self, name: str) -> Any:
        scope: Any = SimpleNamespace()
        return self.gates.room(ident(name), scope)

    def said(self) -> list[tuple[type, bytes]]:
        said = [(type(message), message.id) for message in self.messages]  # type: ignore[attr-defined]
        self.messages.clear()
        return said


def ident(name: str) -> bytes:
    return digest(name.encode())


def wished(*names: str) -> list[tuple[type, bytes]]:
    return [(Wished, ident(name)) for name in names]


def called(*names: str) -> list[tuple[type, bytes]]:
    return [(Call, ident(name)) for name in names]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_calls_are_made_in_their_order_as_there_is_room_each_after_it_was_wished_for(
    desk: Desk,
) -> None:
    names = [str(n) for n in range(WISHES + 2)]
    for name in names:
        desk.make(name)
    assert desk.said() == wished(*names[:WISHES])
    desk.gates.let_through(ident(names[0]))
    assert desk.said() == [*called(names[0]), *wished(names[WISHES])]
    desk.gates.let_through(ident(names[0]))  # nobody says so twice
    assert desk.said() == []
    assert desk.gates


def test_queues_do_not_wait_for_each_other_but_what_needs_a_held_call_follows_it(
    desk: Desk,
) -> None:
    desk.make("a")
    desk.make("b", "other")
    desk.make("after both", "", "b", "a")
    desk.make("free", "")
    assert desk.said() == [*wished("a", "b"), *called("free")]
    desk.gates.let_through(ident("b"))
    assert desk.said() == called("b")
    desk.gates.let_through(ident("a"))
    assert desk.said() == called("a", "after both")
    assert not desk.gates


def test_all_go_at_once_when_the_queue_turns_out_to_be_open(desk: Desk) -> None:
    for n in range(WISHES + 2):
        desk.make(str(n))
    desk.said()
    desk.open_queues.add("q")
    desk.gates.let_through(ident("0"))
    assert desk.said() == called(*(str(n) for n in range(WISHES + 2)))
    desk.gates.let_through(ident("1"))  # the answers to the other wishes
    assert desk.said() == []


def cancelled(*names: str) -> list[tuple[type, bytes]]:
    return [(CancelCall, ident(name)) for name in names]


def test_a_cancelled_call_is_not_made_unless_others_are_to_fail_with_it(desk: Desk) -> None:
    for n in range(WISHES + 2):
        desk.make(str(n))
    desk.make("follower", "", "1")
    desk.said()
    assert desk.cancel("0")
    assert desk.said() == [*cancelled("0"), *wished(str(WISHES))]
    assert desk.cancel(str(WISHES + 1))  # it was not even wished for
    assert desk.said() == []
    assert desk.cancel("1")
    assert desk.said() == [*called("1"), *cancelled("1"), *called("follower")]
    assert not desk.cancel("another")


def test_a_call_that_was_cancelled_is_made_when_it_turns_out_that_others_need_it(
    desk: Desk,
) -> None:
    desk.make("0")
    desk.make("1", "q", "0")
    assert desk.cancel("1")
    assert desk.cancel("0")
    assert not desk.gates
    desk.said()
    desk.make("late", "", "1")
    desk.make("later", "", "0", "1")
    made = [*called("0"), *cancelled("0"), *called("1"), *cancelled("1")]
    assert desk.said() == [*made, *called("late", "later")]


def test_a_cancelled_call_is_not_made_before_those_that_it_needs(desk: Desk) -> None:
    desk.make("0")
    desk.make("1", "", "0")
    desk.make("2", "", "1")
    desk.make("3", "", "0")
    assert desk.cancel("1")  # with "2" behind it
    assert desk.cancel("3")
    desk.make("4", "", "3")  # which follows "0" for the second time
    assert desk.said() == wished("0")
    desk.gates.let_through(ident("0"))
    rest = [*called("1"), *cancelled("1"), *called("2"), *called("3"), *cancelled("3")]
    assert desk.said() == [*called("0"), *rest, *called("4")]
    assert not desk.gates


def test_a_long_chain_of_calls_follows_the_one_that_they_need(desk: Desk) -> None:
    names = [str(n) for n in range(3000)]
    desk.make(names[0])
    for before, name in pairwise(names):
        desk.make(name, "", before)
    desk.said()
    desk.gates.let_through(ident(names[0]))
    assert desk.said() == called(*names)


def test_a_long_chain_of_cancelled_calls_is_made_before_the_one_that_needs_it(desk: Desk) -> None:
    names = [str(n) for n in range(3000)]
    desk.make(names[0])
    for before, name in pairwise(names):
        desk.make(name, "", before)
    for name in reversed(names):
        assert desk.cancel(name)
    desk.said()
    desk.make("late", "", names[-1])
    made = [message for name in names for message in (*called(name), *cancelled(name))]
    assert desk.said() == [*made, *called("late")]


def test_who_waits_for_room_goes_on_when_the_call_is_made_or_cancelled(desk: Desk) -> None:
    for name in ("made", "cancelled", "left"):
        desk.make(name)
    rooms: list[ThreadFuture[None]] = [desk.room(n) for n in ("made", "cancelled", "left")]
    assert desk.gates.rooms() == rooms
    desk.gates.let_through(ident("made"))
    desk.cancel("cancelled")
    assert [room.done() for room in rooms] == [True, True, False]
    assert desk.room("made") is None


def test_a_replay_asks_for_nothing_before_it_was_told_all_that_is_recorded(desk: Desk) -> None:
    session: Any = desk
    known = Known()
    assert not must_ask("q", session, known)
    known.more = False
    assert must_ask("q", session, known)
    assert must_ask("q", session, None)
    desk.open_queues.add("q")
    assert not must_ask("q", session, None)


# --- real workers ---------------------------------------------------------------------------------


def value(of: object) -> bytes:
    return dumps(of, None).data


async def heard(peer, *kinds):
    """Return what the worker says next, which has to be of these kinds."""
    found = []
    for kind in kinds:
        while isinstance(message := await peer.hear(), Define):
            pass
        assert type(message) is kind, message
        found.append(message)
    return found


def test_submit_of_a_sync_task_returns_when_there_is_room(at_desk):
    async def scenario(desk):
        peer = await desk.worker()
        handle = peer.start("submit_two")
        wish, blocked = await heard(peer, Wished, Blocked)
        assert (blocked.awaits, blocked.seen) == (wish.id, 0)
        assert desk.log() == b""
        peer.say(Room(handle, wish.id))
        first, second, blocked = await heard(peer, Call, Wished, Blocked)
        assert (first.id, blocked.awaits, blocked.seen) == (wish.id, second.id, 1)
        peer.say(Room(handle, second.id, "q"))
        call, blocked = await heard(peer, Call, Blocked)
        assert (call.id, blocked.awaits, blocked.seen) == (second.id, first.id, 2)
        peer.say(Resolved(handle, first.id, value(0)), Resolved(handle, second.id, value(1)))
        assert (await peer.done()).value == value([0, 1])
        again = peer.start("submit_two")  # the queue is open
        calls = await heard(peer, Call, Call, Blocked)
        peer.say(*(Resolved(again, call.id, value(0)) for call in calls[:2]))
        assert (await peer.done()).value == value([0, 0])
        peer.say(Shut("q"))
        third = peer.start("submit_two")
        await heard(peer, Wished, Blocked)
        peer.say(Cancel(third, "cancelled"))
        done = await peer.done()
        assert done.failure.code == "cancelled"
        assert done.unfinished == ()

    at_desk(scenario)


def test_calls_of_an_async_task_wait_for_room_one_by_one(at_desk):
    async def scenario(desk):
        peer = await desk.worker(is_async=True)
        handle = peer.start("call_three", True)
        first, second, third, cancel = await heard(peer, Wished, Wished, Wished, CancelCall)
        assert cancel.id == second.id
        peer.say(Room(handle, third.id))
        (call,) = await heard(peer, Call)
        assert call.id == third.id
        peer.say(Room(handle, second.id), Room(handle, first.id))  # the second is not wanted
        (call,) = await heard(peer, Call)
        assert call.id == first.id
        peer.say(Resolved(handle, first.id, value(0)), Resolved(handle, third.id, value(2)))
        assert (await peer.done()).value == value([0, -1, 2])

    at_desk(scenario)


def test_a_cancelled_call_is_made_for_one_that_needs_it_though_nothing_is_held_back(at_desk):
    async def scenario(desk):
        peer = await desk.worker(is_async=True)
        handle = peer.start("need_cancelled", True)
        wish, _, call, cancel, needing = await heard(
            peer, Wished, CancelCall, Call, CancelCall, Call
        )
        assert needing.needs == (wish.id,) == (call.id,) == (cancel.id,)
        peer.say(Resolved(handle, needing.id, value(7)))
        assert (await peer.done()).value == value(7)

    at_desk(scenario)


def test_map_takes_the_next_item_when_there_was_room_for_the_last(at_desk):
    async def scenario(desk):
        peer = await desk.worker(is_async=True)
        handle = peer.start("map_lazily", True, count=3)
        (first,) = await heard(peer, Wished)
        peer.say(Room(handle, first.id))
        _, second = await heard(peer, Call, Wished)
        peer.say(Resolved(handle, first.id, value(0)))
        peer.say(Room(handle, second.id))
        _, third = await heard(peer, Call, Wished)
        assert desk.log() == b"taken 2\n"
        peer.say(Room(handle, third.id), Resolved(handle, second.id, value(1)))
        await heard(peer, Call)
        peer.say(Resolved(handle, third.id, value(2)))
        assert (await peer.done()).value == value(3)

    at_desk(scenario)
