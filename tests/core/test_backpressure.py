"""Back-pressure: calls of a queue with a depth are held back while that many wait there."""

import pytest

from core.driver import Driver, Stage, spec
from core.test_queues import ROOT, calls, driver_with, journal_with
from perdure._core.explaining import explain
from perdure._core.lifecycle import Ended
from perdure._core.model import Outcome, Reuse, TaskSpec
from perdure._core.orders import Room, Shut
from perdure._core.overview import overview
from perdure._core.reasons import NoSlot, QueueFull
from perdure._core.sharing import QueueLimits
from perdure._core.state import Action
from perdure._core.turns import PERIOD

JOB = spec("job", queue="q")


def wish(driver: Driver, caller: Action, task: TaskSpec = JOB, k: int = 0) -> bytes:
    """The caller's attempt is about to call; return the id of the call."""
    id_ = driver.id(caller, task.name, k)
    assert caller.attempt is not None
    driver.machine.backpressure.wish(caller.attempt.handle, task, id_)
    if not caller.task.spec.is_async:  # type: ignore[union-attr]  # in the same frame, as workers do
        driver.machine.blocked(caller.attempt.handle, id_, len(let_in(driver, caller)))
    driver.settle()
    return id_


def let_in(driver: Driver, caller: Action | None = None) -> list[bytes]:
    """Return the calls that may be made, in the order in which callers were told."""
    return [
        room.id
        for room in driver.told(Room)
        if caller is None or (caller.attempt and room.parent == caller.attempt.handle)
    ]


def open_queues(driver: Driver) -> list[str]:
    return [room.open for room in driver.told(Room)]


# --- room -----------------------------------------------------------------------------------------


def test_as_many_calls_wait_as_the_depth_allows_and_the_next_comes_when_one_has_started() -> None:
    driver = driver_with(concurrency=1, depth=2)
    root = driver.start(ROOT)
    wishes = [wish(driver, root, k=k) for k in range(5)]
    assert let_in(driver) == wishes[:2]  # what has been promised counts
    first, second = driver.call(root, JOB, 0), driver.call(root, JOB, 1)
    assert (first.stage, second.stage) == (Stage.RUNNING, Stage.QUEUED)
    assert let_in(driver) == wishes[:3]
    third = driver.call(root, JOB, 2)
    assert let_in(driver) == wishes[:3]
    driver.end(first)
    assert let_in(driver) == wishes[:4]
    driver.fail(second)
    driver.end(third)
    assert set(open_queues(driver)) == {""}


def test_children_of_parents_that_have_begun_come_before_more_parents_and_nobody_is_forgotten() -> (
    None
):
    driver = driver_with(concurrency=1, depth=1)
    root = driver.start(ROOT)
    parent = driver.call(root, spec("parent", is_async=True, cpu=0))
    calls(driver, root, 2, JOB)
    old = wish(driver, root, k=2)
    below = [wish(driver, parent, k=k) for k in range(PERIOD + 1)]
    for k in range(PERIOD - 1):
        for job in [a for a in root.run.actions.values() if a.name == "job" and a.attempt]:
            driver.end(job)
        assert let_in(driver) == below[: k + 1]
        driver.call(parent, JOB, k)
    for job in [a for a in root.run.actions.values() if a.name == "job" and a.attempt]:
        driver.end(job)
    assert let_in(driver)[-1] == old


def test_work_of_a_higher_priority_is_let_in_first() -> None:
    driver = driver_with(concurrency=1, depth=1)
    low = driver.start(ROOT)
    high = driver.start(ROOT, "high", priority=1)
    jobs = calls(driver, low, 2, JOB)
    later, sooner = wish(driver, low, k=2), wish(driver, high)
    driver.end(jobs[0])
    assert let_in(driver) == [sooner]
    driver.call(high, JOB)
    driver.end(jobs[1])
    assert let_in(driver) == [sooner, later]


# --- queues without a depth -----------------------------------------------------------------------


def test_workers_ask_once_where_there_is_no_depth_and_again_after_it_was_given_one() -> None:
    driver = driver_with(concurrency=1)
    root = driver.start(ROOT)
    wish(driver, root)
    jobs = [driver.call(root, JOB, 0)]
    wish(driver, root, k=1)
    jobs += [driver.call(root, JOB, 1), driver.call(root, JOB, 2)]
    assert open_queues(driver) == ["q", "q"]
    driver.journal.queues.declare([QueueLimits("q", concurrency=1, depth=1)], driver.now)
    driver.after(1.0)
    assert [order.queue for order in driver.told(Shut)] == ["q"]
    held = wish(driver, root, k=3)
    assert held not in let_in(driver)
    driver.journal.queues.declare([QueueLimits("q", concurrency=1)], driver.now)
    driver.after(1.0)
    assert held in let_in(driver)


def test_workers_ask_again_once_a_queue_was_not_in_use_for_it_may_have_been_changed() -> None:
    driver = driver_with(concurrency=1)
    root = driver.start(ROOT)
    wish(driver, root)
    driver.end(driver.call(root, JOB))
    driver.after(2.0)
    driver.after(2.0)
    assert driver.told(Shut)
    driver.journal.queues.declare([QueueLimits("q", concurrency=1, depth=1)], driver.now)
    wishes = [wish(driver, root, k=k) for k in (1, 2)]
    assert let_in(driver)[1:] == wishes[:1]
    assert open_queues(driver)[1:] == [""]


def test_calls_of_a_queue_that_nobody_has_declared_are_let_in_and_fail() -> None:
    driver = Driver()
    root = driver.start(ROOT)
    wishes = [wish(driver, root, k=k) for k in range(3)]
    driver.after(1.0)
    assert let_in(driver) == wishes
    job = driver.call(root, JOB)
    driver.after(1.0)
    assert driver.failure(job).code == "queue_not_found"


# --- callers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_who_is_held_back_has_given_back_its_cores_and_its_slot(is_async: bool) -> None:
    driver = driver_with(cpu=1, concurrency=1, depth=1)
    root = driver.start(ROOT)
    task = spec("parent", is_async=is_async, queue="q")
    first, second = calls(driver, root, 2, task)
    held = wish(driver, first)
    assert first.attempt is not None
    assert first.attempt.blocked
    assert not first.attempt.slot
    assert second.stage is Stage.RUNNING  # with them
    if not is_async:
        assert let_in(driver) == []  # there is room now, but no slot to go on with
        driver.end(second)
    assert let_in(driver) == [held]
    assert first.attempt.blocked == is_async
    job = driver.call(first, JOB)
    if is_async:
        driver.end(second)
    else:
        driver.block(first, on=job)
    driver.end(job)
    driver.end(first)
    assert driver.outcome(first)


def test_a_caller_need_not_wait_where_there_is_room_and_keeps_its_cores() -> None:
    driver = driver_with(concurrency=1, depth=2)
    caller = driver.start(spec("root"))
    wish(driver, caller)
    driver.after(0.01)  # now the journal has told what holds
    driver.call(caller, JOB)
    wish(driver, caller, k=1)
    assert caller.attempt is not None
    assert not caller.attempt.blocked


def test_what_is_not_wanted_any_more_makes_room() -> None:
    driver = driver_with(concurrency=1, depth=1)
    root = driver.start(ROOT)
    others = calls(driver, root, 2, spec("other", is_async=True, cpu=0))
    jobs = calls(driver, root, 2, JOB)
    dropped = wish(driver, others[0])
    assert others[0].attempt is not None
    driver.machine.cancel_call(others[0].attempt.handle, dropped)
    driver.settle()
    assert not others[0].attempt.blocked
    wish(driver, others[0])
    last = wish(driver, others[1])
    driver.kill(others[0])  # it is attempted again
    driver.end(jobs[0])
    assert let_in(driver) == [last]
    again = wish(driver, others[0])
    assert let_in(driver) == [last]
    driver.kill(others[1])  # what was promised to somebody who dies is room again
    assert let_in(driver) == [last, again]
    driver.abort(others[0])
    driver.fail(others[0])
    queue = driver.machine.scheduler.queues.get("q")
    assert queue is not None
    assert not queue.wishes.waiting
    assert not queue.wishes.promised


def test_p3_calls_that_were_made_before_are_let_through_at_once() -> None:
    driver = driver_with(concurrency=1, depth=1)
    root = driver.start(ROOT)
    calls(driver, root, 3, JOB)
    driver.kill(root)
    wishes = [wish(driver, root, k=k) for k in range(4)]
    assert let_in(driver) == wishes[:3]  # they are in flight
    driver.flush()
    driver = driver.restarted()
    root = driver.start(ROOT)
    driver.hold_answers = True
    wishes = [wish(driver, root, k=k) for k in range(4)]
    assert let_in(driver) == wishes[3:]  # it is known to be new, and there is room
    driver.answer()
    assert let_in(driver) == [wishes[3], *wishes[:3]]  # they are on record


def test_p3_what_a_replay_wished_for_and_did_not_call_was_called() -> None:
    driver = driver_with(concurrency=1, depth=1)
    root = driver.start(ROOT)
    jobs = calls(driver, root, 2, JOB)
    driver.fail(jobs[0])
    driver.flush()
    driver = driver.restarted()
    root = driver.start(ROOT, strict=True)
    driver.read_on(root)
    assert root.attempt is not None
    unmade = tuple(job.id for job in jobs)
    ended = Ended(Outcome(value=b"v"), unfinished=unmade)
    driver.machine.done(root.attempt.handle, ended)
    driver.settle()
    assert driver.ended == [Outcome(value=b"v")]


# --- runs in the queue ----------------------------------------------------------------------------


def test_a_run_that_its_queue_has_admitted_is_not_held_back_by_those_who_wait_for_its_end() -> None:
    driver = driver_with(concurrency=1, depth=1)
    first = driver.start(ROOT, queue="q")
    calls(driver, driver.start(ROOT, "elsewhere"), 2, JOB)
    driver.start(ROOT, "second", queue="q")  # waits to be admitted: for the end of the first
    wishes = [wish(driver, first, k=k) for k in range(3)]
    for k in range(3):
        assert let_in(driver) == wishes[: k + 1]  # one at a time
        job = driver.call(first, JOB, k)
        assert job.stage is Stage.RUNNING
        assert let_in(driver) == wishes[: k + 1]
        driver.end(job)
    driver.end(first)
    assert driver.ended


def test_no_more_than_one_call_of_such_a_run_waits_for_a_start() -> None:
    driver = driver_with(concurrency=1, depth=1, starts=1, period=3600.0)
    first = driver.start(ROOT, queue="q")
    calls(driver, driver.start(ROOT, "elsewhere"), 1, JOB)
    wishes = [wish(driver, first, k=k) for k in range(2)]
    assert driver.call(first, JOB).stage is Stage.QUEUED
    assert let_in(driver) == wishes[:1]


def test_runs_that_wait_to_be_admitted_take_no_room_from_calls() -> None:
    driver = driver_with(concurrency=1, depth=1)
    for name in ("first", "second", "third"):
        driver.start(ROOT, name, queue="q")
    elsewhere = driver.start(ROOT)
    assert wish(driver, elsewhere) in let_in(driver)


# --- standstill -----------------------------------------------------------------------------------


@pytest.mark.parametrize("moves", [False, True])
def test_p8_parents_that_keep_what_the_line_waits_for_give_way_unless_it_moves(moves: bool) -> None:
    driver = Driver(8, journal_with(concurrency=2, depth=1), memory=10)
    root = driver.start(ROOT)
    parents = calls(driver, root, 2, spec("parent", is_async=True, memory=5))
    big = driver.call(root, spec("big", memory=3, queue="q"))
    if moves:
        driver.hold_workers = True
        driver.call(root, spec("other", queue="q", reuse=Reuse("slow to start")))
    for parent in parents:
        wish(driver, parent)
    assert let_in(driver) == []
    driver.after(2.0)
    driver.after(2.0)
    assert len(driver.killed) == (0 if moves else 1)
    assert big.stage is Stage.QUEUED


# --- what people are told -------------------------------------------------------------------------


def test_p7_who_is_held_back_says_by_which_queue_and_who_is_next_there() -> None:
    driver = driver_with(concurrency=1, depth=2)
    root = driver.start(ROOT)
    caller = driver.call(root, spec("caller"))
    calls(driver, root, 3, JOB)
    wish(driver, root, k=3)
    wish(driver, caller)
    found = [link.reason for link in explain(driver.machine, caller, {})]
    assert found[0] == QueueFull(queue="q", task="job", waiting=2, depth=2)
    assert isinstance(found[1], NoSlot)
    (reason, *_) = (link.reason for link in explain(driver.machine, root, {}))
    assert reason == QueueFull(queue="q", task="job", waiting=2, depth=2, ahead=1, open=4)
    seen = overview(driver.machine, {})
    assert seen.waiting == {"no_slot": 2, "queue_full": 2}
    assert [(each.waiting, each.depth, each.held_back) for each in seen.queues] == [(2, 2, 2)]
