"""Attempts that only wait give their place back, and go on as the same attempts."""

from itertools import pairwise
from typing import Any

import pytest

from core.driver import Driver, Stage, Timeout, error, spec
from perdure._core import parking
from perdure._core.explaining import explain
from perdure._core.model import Phase, Reuse
from perdure._core.orders import Park
from perdure._core.parking import MANY_CALLS, awaited, first_moment
from perdure._core.reasons import Asleep, Children
from perdure._core.records import ActionRow
from perdure._core.state import Action

AFTER = 10.0


def driver(**options: Any) -> Driver:
    return Driver(park_after=AFTER, **options)


def asked(driver: Driver) -> list[int]:
    """Return the attempts whose workers were asked to leave them."""
    return [order.attempt for order in driver.told(Park)]


def look(driver: Driver, seconds: float = 0.0) -> None:
    driver.after(seconds)
    driver.machine.parking.look()
    driver.settle()


def leave(driver: Driver, action: Action, *, whole: bool = False) -> None:
    """The worker leaves the action's attempt, as it was asked to."""
    assert action.attempt is not None
    number, handle = driver.worker(action).number, action.attempt.handle
    assert handle in asked(driver)
    driver.machine.parking.left(number, handle, (), whole=whole)
    driver.settle()


def parked(driver: Driver, task: Any = None, seconds: float = 100.0) -> tuple[Action, Action]:
    """Return the root, parked, and the durable sleep that it waits for."""
    root = driver.start(task)
    nap = driver.sleep(root, seconds)
    leave(driver, root)
    assert root.stage is Stage.PARKED
    return root, nap


def test_runs_that_wait_share_workers_once_one_of_their_task_has_waited() -> None:
    d = driver(cpu=2)
    d.hold_workers = True
    roots = [d.start(spec("root", is_async=True), f"run{k}") for k in range(20)]
    d.hold_workers = False
    d.settle()
    while waiting := [root for root in roots if root.attempt is not None and not root.children]:
        for root in waiting:
            d.sleep(root, AFTER / 2)  # too short to be parked
    assert all(root.attempt is not None for root in roots)
    assert len(d.machine.scheduler.staff.workers) <= 3


def test_a_long_sleep_parks_its_caller_at_once() -> None:
    d = driver()
    root, nap = parked(d)
    assert root.attempt is None
    assert awaited(root) == [nap]
    assert len(asked(d)) == 1
    assert d.recorded(root.id).phase is Phase.WAITING  # type: ignore[union-attr]
    assert [end.phase for end in d.run_ends()] == [Phase.WAITING]


def test_p7_what_is_parked_says_what_it_waits_for() -> None:
    d = driver()
    root, nap = parked(d)
    first, last = explain(d.machine, root, {})
    assert isinstance(first.reason, Children)
    assert (first.reason.open, first.attempt) == (1, 0)
    assert last.reason == Asleep(until=nap.wake_at or 0.0)


def test_a_short_sleep_does_not() -> None:
    d = driver()
    root = d.start()
    d.sleep(root, AFTER)
    for _ in range(20):
        look(d, 0.4)
    assert not asked(d)


def test_the_end_of_the_wait_brings_the_same_attempt_back() -> None:
    d = driver()
    root, nap = parked(d, spec("root", is_async=True, retries=1))
    began = root.started
    d.after(100.0)
    assert (root.stage, root.number, root.charged, root.started) == (Stage.RUNNING, 0, 1, began)
    assert d.outcome(nap) is not None
    assert d.known(root)
    assert [end.phase for end in d.run_ends()] == [Phase.WAITING, Phase.RUNNING]
    d.claim(root, "durable.sleep")
    d.end(root)
    assert d.outcome(root).value == b"value"  # type: ignore[union-attr]
    assert not d.attempts()


def test_a_failure_after_parking_costs_one_attempt_of_the_budget() -> None:
    d = driver()
    root, _ = parked(d, spec("root", is_async=True, retries=1))
    d.after(100.0)
    d.fail(root)
    assert (root.stage, root.number, root.started) == (Stage.RUNNING, 1, d.now)
    d.fail(root)
    assert d.failure(root).message == "boom"


def test_a_retried_attempt_that_was_parked_keeps_the_failures_it_has_seen() -> None:
    d = driver()
    root = d.start(spec("root", is_async=True, retries=1))
    child = d.call(root, "flaky")
    d.fail(child)
    d.fail(root)  # the second attempt tries the child again
    d.after(1.0)
    child = d.call(root, "flaky")
    assert child.stage is Stage.RUNNING
    d.after(1.0)
    d.fail(child, error("again"))
    d.sleep(root, 100.0)
    leave(d, root)
    d.after(100.0)
    d.read_on(root)
    before = len(d.started())
    assert root.attempt is not None
    d.machine.call(root.attempt.handle, spec("flaky"), child.id, b"inputs")
    d.settle()
    assert len(d.started()) == before
    assert d.delivered(child.id)[-1].failure.message == "again"  # type: ignore[union-attr]


def test_a_sync_worker_goes_with_what_it_leaves() -> None:
    d = driver()
    root = d.start(spec("root"))
    nap = d.sleep(root, 100.0)
    assert not asked(d)  # it has not said yet that it waits
    d.block(root)
    look(d)
    worker = d.worker(root)
    leave(d, root, whole=True)
    assert d.killed == [worker.number]
    d.kill(worker.number)
    assert (root.stage, root.total_losses) == (Stage.PARKED, 0)
    d.after(100.0)
    assert root.stage is Stage.RUNNING
    assert d.outcome(nap) is not None


def test_what_was_sent_to_a_worker_that_goes_is_given_to_another() -> None:
    d = driver(cpu=1.0)
    alone = spec("root", is_async=True, reuse=Reuse("env", max_workers=1))
    root = d.start(alone)
    d.sleep(root, 100.0)
    other = d.start(alone, name="other")
    assert d.worker(other) is d.worker(root)
    worker = d.worker(root)
    leave(d, root, whole=True)
    assert worker.stopping
    d.kill(worker.number)
    assert d.worker(other) is not worker
    assert (other.stage, other.number, other.total_losses) == (Stage.RUNNING, 0, 0)


def test_a_worker_may_refuse_and_is_asked_again_later_and_later() -> None:
    d = driver()
    root = d.start()
    d.sleep(root, 10_000.0)
    times = []
    for _ in range(1000):
        if len(asked(d)) > len(times):
            times.append(d.now)
            d.machine.parking.stays(asked(d)[-1])
        look(d, 1.0)
    pauses = [round(b - a) for a, b in pairwise(times)]
    assert pauses[:4] == [10, 20, 40, 80]
    assert max(pauses) <= 300


def test_an_outcome_that_crosses_the_farewell_sends_it_back_at_once() -> None:
    d = driver()
    root = d.start()
    child = d.call(root, spec("child", cpu=0.5))
    d.sleep(root, 50.0)
    assert not asked(d)
    d.fail(child)
    look(d)
    assert root.attempt is not None
    handle, worker = root.attempt.handle, d.worker(root)
    assert asked(d) == [handle]
    d.after(50.0)
    assert not worker.blocked
    d.machine.parking.left(worker.number, handle, (), whole=False)
    d.settle()
    assert (root.stage, root.number) == (Stage.RUNNING, 0)


def test_a_parent_of_a_parked_child_is_parked_in_its_turn() -> None:
    d = driver()
    root = d.start()
    child = d.call(root, spec("child", is_async=True))
    nap = d.sleep(child, 100.0)
    leave(d, child)
    look(d)
    leave(d, root)
    assert [root.stage, child.stage] == [Stage.PARKED, Stage.PARKED]
    assert root.wake_at == child.wake_at == nap.wake_at
    d.after(100.0)
    assert [root.stage, child.stage] == [Stage.PARKED, Stage.RUNNING]
    d.claim(child, "durable.sleep")
    d.end(child)
    assert root.stage is Stage.RUNNING


def test_a_parent_stays_while_anything_it_waits_for_is_at_work() -> None:
    d = driver()
    root = d.start()
    busy = d.call(root, spec("busy", cpu=0.5))
    d.sleep(root, 1000.0)
    for _ in range(30):
        look(d, 1.0)
    assert not asked(d)
    d.fail(busy)  # and looks at something else now
    look(d)
    assert asked(d)


def test_a_parent_whose_calls_have_been_queued_for_long_is_parked() -> None:
    d = driver(cpu=1.0)
    hog = d.start(spec("hog"), name="hog")
    root = d.start(spec("root", is_async=True, cpu=0.0))
    child = d.call(root, spec("child"))
    assert child.stage is Stage.QUEUED
    for _ in range(15):
        look(d, 1.0)
    assert not asked(d)  # it has waited for so long, and not yet seen that nothing moves
    for _ in range(10):
        look(d, 1.0)
    assert len(asked(d)) == 1
    leave(d, root)
    assert root.wake_at is None
    d.end(hog)
    assert child.stage is Stage.RUNNING
    d.end(child)
    assert root.stage is Stage.RUNNING


def test_a_parent_of_very_many_calls_stays() -> None:
    d = driver(cpu=1.0)
    root = d.start(spec("root", is_async=True))
    assert root.attempt is not None
    for k in range(MANY_CALLS + 1):
        d.machine.sleep(root.attempt.handle, d.id(root, "nap", k), 100.0)
    d.settle()
    look(d, 1.0)
    assert not asked(d)


def test_time_limits_go_on_while_parked() -> None:
    d = driver()
    limits = Timeout(max_runtime=30.0, max_queued_time=5.0)
    root, nap = parked(d, spec("root", is_async=True, retries=1, timeout=limits))
    d.after(30.0)
    assert (root.stage, root.number) == (Stage.RUNNING, 1)
    assert [row.failure.code for row in d.attempts()] == ["timeout"]
    assert d.failure(nap).message == "its parent has run too long"


def test_max_runtime_counts_from_the_first_start_after_waking() -> None:
    d = driver()
    root, _ = parked(d, spec("root", is_async=True, timeout=Timeout(max_runtime=130.0)))
    d.after(100.0)
    assert root.stage is Stage.RUNNING
    d.after(30.0)
    assert root.ending == "max_runtime"


def test_the_wait_for_a_worker_after_waking_is_not_limited() -> None:
    d = driver(cpu=1.0)
    root, _ = parked(d, spec("root", is_async=True, timeout=Timeout(max_queued_time=5.0)))
    hog = d.start(spec("hog"), name="hog")
    d.after(100.0)
    assert root.stage is Stage.QUEUED
    d.after(20.0)
    d.end(hog)
    assert root.stage is Stage.RUNNING


def test_a_deadline_ends_what_is_parked() -> None:
    d = driver()
    root, _ = parked(d, spec("root", is_async=True, timeout=Timeout(deadline=20.0)))
    d.after(20.0)
    assert d.failure(root).code == "timeout"


def test_p8_what_is_parked_is_aborted_at_once() -> None:
    d = driver()
    root, nap = parked(d)
    assert d.machine.abort(root.run, None, "enough")
    d.settle()
    assert [d.failure(each).code for each in (root, nap)] == ["cancelled", "cancelled"]


def test_an_abort_that_crosses_the_farewell_ends_the_action() -> None:
    d = driver()
    root = d.start()
    d.sleep(root, 100.0)
    assert root.attempt is not None
    worker, handle = d.worker(root), root.attempt.handle
    d.machine.abort(root.run, None, "enough")
    d.machine.parking.left(worker.number, handle, (), whole=False)
    d.settle()
    assert d.failure(root).code == "cancelled"


def test_p3_a_crash_while_parked_moves_no_end_of_a_sleep() -> None:
    d = driver()
    root, nap = parked(d)
    d.after(40.0)
    d = d.restarted()
    root = d.start()
    assert (root.stage, root.number, root.resumes) == (Stage.RUNNING, 0, True)
    assert root.wake_at is None
    again = d.sleep(root, 100.0)
    assert again.wake_at == nap.wake_at
    leave(d, root)
    d.after(60.0)
    assert root.stage is Stage.RUNNING
    d.claim(root, "durable.sleep")
    d.end(root)
    assert d.recorded(root.id).attempts == 1  # type: ignore[union-attr]


def test_a_run_that_sleeps_is_dormant_and_goes_on_from_the_journal() -> None:
    d = driver()
    root, nap = parked(d, spec("root", is_async=True, retries=3))
    assert d.machine.effects.dormant == [root.run]
    assert first_moment(root.run) == nap.wake_at
    d.machine.effects.dormant.clear()
    d.machine.drop_run(root.run.key)
    assert not d.machine.runs
    assert d.machine.timers.next_due() is None
    d.after(100.0)
    root = d.start(spec("root", is_async=True, retries=3))
    nap = d.sleep(root, 100.0)
    d.after(0.0)
    assert d.outcome(nap) is not None
    d.end(root)
    row = d.recorded(root.id)
    assert isinstance(row, ActionRow)
    assert (row.attempts, row.losses, row.phase) == (1, 0, Phase.SUCCEEDED)


def test_a_dormant_run_is_taken_up_for_its_first_limit() -> None:
    d = driver()
    root, _ = parked(d, spec("root", is_async=True, timeout=Timeout(max_runtime=30.0)))
    assert root.started is not None
    assert first_moment(root.run) == root.started + 30.0


@pytest.mark.parametrize("how", ["remarked", "cached", "retried"])
def test_a_run_that_the_journal_does_not_tell_all_of_is_not_dormant(how: str) -> None:
    d = driver()
    root = d.start()
    if how == "remarked":
        root.run.remarks = ("something",)
    if how == "retried":
        child = d.call(root, spec("child", retries=1, base=50.0))
        d.fail(child)
        d.after(0.0)
    d.sleep(root, 100.0)
    if how == "cached":
        from perdure._core.state import Keyed

        root.cache = Keyed()
    for _ in range(12):
        look(d, 1.0)
    leave(d, root)
    assert not d.machine.effects.dormant


def test_the_more_wait_for_answers_the_sooner_they_are_parked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parking, "FEW", 1)
    d = driver()
    for name in ("one", "two"):
        d.ask(d.start(name=name))
    look(d)
    look(d, AFTER / 2 - 1.0)
    assert not asked(d)
    look(d, 1.0)
    assert len(asked(d)) == 2


def test_nothing_is_parked_unless_it_is_asked_for() -> None:
    d = Driver()
    root = d.start()
    d.sleep(root, 1e6)
    for _ in range(5):
        look(d, 100.0)
    assert not asked(d)
