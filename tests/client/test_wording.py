"""Every reason has words."""

import re
from typing import Any

import msgspec
import pytest

from perdure._core.model import Phase
from perdure._core.reasons import (
    Asleep,
    BackingOff,
    Brief,
    Children,
    HeldBack,
    Holder,
    Inputs,
    JournalAsked,
    Line,
    Link,
    MemoryScarce,
    Next,
    NoneFree,
    NoRoom,
    NoSlot,
    NoWorker,
    QueueFull,
    Reason,
    Recorded,
    Running,
    SameKey,
    Stopping,
    Unanswered,
    Unexplained,
    kind,
)
from perdure.client import wording

LEAF = Brief(run="nightly", number=4, id="ab" * 16, task="train")
OTHER = Brief(run="other", number=0, id="cd" * 16, task="prep")
HELD = Holder(action=OTHER, amounts={"cpu": 3.0}, since=90.0, waits=True, beside=2)
GIB = float(1 << 30)
ROOM: dict[str, Any] = {
    "asked": {"cpu": 2.0, "memory": GIB}, "free": {"cpu": 0.5, "memory": GIB},
    "total": {"cpu": 4.0, "memory": 4 * GIB}, "holders": (HELD,),
}  # fmt: skip

SAID = [
    (Running(worker=7, pid=77, since=40.0), "has been running for 1m00s, in process 77"),
    (Running(worker=7, pid=0, since=40.0, behind=2),
     "is with a worker, on worker 7, which does 2 others first"),
    (Stopping(worker=7, pid=77, why="deadline"), "was asked to stop (deadline), in process 77"),
    (Children(open=3, calls=8, phases={"running": 2, "queued": 1}),
     "waits for 3 of its 8 calls (2 running, 1 queued)"),
    (Children(open=1, calls=1, phases={"queued": 1}), "waits for its call"),
    (NoRoom(short=("cpu",), **ROOM),
     "waits for resources: it asks for 2 cpu, 1.0 GiB memory, and 0.5 of 4 cpu are free"),
    (NoRoom(short=(), kept=("memory",), first=OTHER, first_asked={"memory": 4 * GIB}, **ROOM),
     ("waits for resources: it asks for 2 cpu, 1.0 GiB memory; "
     "what is free (1.0 GiB of 4.0 GiB memory) is for older work")),
    (NoRoom(short=("cpu",), resumes=True, **ROOM),
     ("could go on, its calls have ended, and waits for 2 cpu, 1.0 GiB memory: 0.5 of 4 cpu are "
     "free")),
    (NoneFree(environment="gate", workers=1, most=1, holders=(HELD,)),
     "waits for a worker: the one of environment gate is busy, the most there may be"),
    (NoneFree(environment="", workers=3, most=0, holders=()),
     "waits for a worker: all 3 are busy"),
    (NoWorker(environment="llm", starting=1, since=98.0, hooks=1, died=2),
     ("waits for a worker of environment llm to start, which calls the start-up hook, for 2.0s now"
     "; 2 workers before it died while starting")),
    (QueueFull(queue="api", task="shop.ask", waiting=1, depth=1),
     "holds back a call of shop.ask: 1 call waits in queue api, whose depth is 1"),
    (QueueFull(queue="api", task="shop.ask", waiting=5, depth=5, ahead=2),
     "holds back a call of shop.ask: 5 calls wait in queue api, whose depth is 5; 2 more go first"),
    (QueueFull(queue="api", task="shop.ask", waiting=0, depth=0),
     "holds back a call of shop.ask: the journal is asked how many may wait in queue api"),
    (NoSlot(queue="api", position=2, waiting=9, concurrency=3, holders=(OTHER,), elsewhere=1),
     ("waits in queue api, as number 2 of 9; of its 3 slots: held by prep of other, 1 by other "
     "processes")),
    (NoSlot(queue="api", position=1, waiting=1, next_start=112.0),
     "waits in queue api, as number 1 of 1, for the next start at *"),
    (Next(), "is about to be given to a worker"),
    (MemoryScarce(most=1),
     ("waits until the machine has memory to spare: it ran short, and for a while no more than 1 "
     "worker may be busy")),
    (Inputs(open=1, inputs=2), "waits for 1 of its 2 inputs, which are outcomes of other calls"),
    (Asleep(until=160.0), "sleeps until *, for another 1m00s"),
    (Unanswered(until=None), "waits for somebody to answer"),
    (Unanswered(until=160.0), "waits for somebody to answer, until *"),
    (BackingOff(until=112.0), "has failed, and is tried again at *, in 12.0s"),
    (SameKey(key="ab", holder=None),
     "waits for an identical call of another process, whose value it will have, too"),
    (SameKey(key="ab", holder=OTHER), "waits for an identical call, whose value it will have, too"),
    (HeldBack(), "waits: its parent had cancelled it before the crash, and may do so again"),
    (JournalAsked(), "waits for the journal to tell what is known of it"),
    (Recorded(), "has ended, and its outcome is being recorded"),
    (Unexplained(), "is queued, and waits for nothing that is known: a mistake of ours"),
]  # fmt: skip


def link(reason: Any, **more: Any) -> Link:
    return Link(action=LEAF, phase=Phase.QUEUED, attempt=0, reason=reason, **more)


@pytest.mark.parametrize(("reason", "words"), SAID)
def test_a_reason_is_said_in_a_sentence(reason: Any, words: str) -> None:
    pattern = re.escape(words).replace(r"\*", "[-0-9: ]+")
    assert re.fullmatch(pattern, wording.sentence(link(reason), 100.0))


def test_every_reason_is_among_them_and_has_a_name_for_many() -> None:
    kinds = {kind(reason) for reason, _ in SAID}
    assert kinds == {each.__struct_config__.tag for each in Reason.__args__}
    assert set(wording.COUNTED) == kinds - {"running", "stopping"} | {"other"}


def test_the_kind_of_a_reason_tells_it_apart_on_the_wire() -> None:
    for reason, _ in SAID:
        sent = msgspec.json.encode(link(reason))
        assert msgspec.json.decode(sent, type=Link).reason == reason


def test_who_holds_what_and_the_place_in_line_are_details() -> None:
    reason = NoRoom(
        short=("cpu",), first=LEAF, first_asked={"cpu": 4.0}, others=3, **ROOM
    )  # fmt: skip
    line = Line(ahead=2, counted=False, others=5)
    assert list(wording.details(link(reason, line=line), 100.0)) == [
        ("goes first", "train #4, which asks for 4 cpu"),
        (
            "held by",
            "prep cdcdcdcd of other: 3 cpu, for 10.0s, waits for its calls, shared with 2 more",
        ),
        ("", "... and 3 more"),
        ("in line", "2 or more of this run go first; 5 of other runs wait, too: runs take turns"),
    ]


def test_an_idle_worker_may_hold_something() -> None:
    idle = Holder(action=None, amounts={"gpu": 1.0}, since=None)
    reason = NoRoom(
        asked={"gpu": 1.0}, free={"gpu": 0.0}, total={"gpu": 1.0}, short=("gpu",), holders=(idle,)
    )
    assert list(wording.details(link(reason), 100.0)) == [
        ("held by", "a worker that has nothing to do, 1 gpu")
    ]


def test_how_to_answer_is_a_detail() -> None:
    assert list(wording.details(link(Unanswered(until=None)), 100.0)) == [
        ("answer", "perdure signal nightly 4 VALUE")
    ]


def test_what_keeps_a_worker_from_starting_is_a_detail_with_its_log() -> None:
    reason = NoWorker(
        environment="", starting=1, since=0.0, delay="building environment x; log: /tmp/x.log"
    )
    assert list(wording.details(link(reason), 100.0)) == [
        ("first", "building environment x"), ("log", "/tmp/x.log"),
    ]  # fmt: skip
