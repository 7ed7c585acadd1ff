"""From a call to its recorded outcome: retries, losses, cancellation, time limits, inputs."""

import pytest

from core.driver import Driver, Stage, Timeout, error, spec
from perdure._core.artifacts import Publisher, Wanted
from perdure._core.lifecycle import CANCELLED_BY_PARENT, MAX_DEPTH, MAX_LOSSES
from perdure._core.machine import MAX_CRASHED_STARTS, WorkerEnd
from perdure._core.model import Outcome, Phase
from perdure._core.orders import Interrupt


@pytest.fixture
def driver() -> Driver:
    return Driver(cpu=8)


# --- outcomes -------------------------------------------------------------------------------------


def test_a_value_ends_the_run_once_it_is_recorded(driver: Driver) -> None:
    driver.hold_commits = True
    root = driver.start()
    driver.end(root, b"42")
    assert driver.ended == []
    driver.commit()
    assert [o.value for o in driver.ended] == [b"42"]
    assert not root.run.actions


def test_nobody_sees_an_outcome_before_its_commit(driver: Driver) -> None:
    root = driver.start()
    child = driver.call(root)
    driver.hold_commits = True
    driver.end(child)
    assert driver.delivered(child.id) == []
    driver.commit()
    assert len(driver.delivered(child.id)) == 1


def test_an_action_with_a_recorded_descendant_has_a_row(driver: Driver) -> None:
    root = driver.start()
    middle = driver.call(root, spec("middle", is_async=True))
    leaf = driver.call(middle, "leaf")
    driver.end(leaf)
    assert driver.recorded(root.id).seq == driver.recorded(middle.id).parent
    assert driver.recorded(middle.id).seq == driver.recorded(leaf.id).parent


def test_an_action_that_publishes_has_a_row_before_it_is_done(driver: Driver) -> None:
    root = driver.start()
    leaf = driver.call(root, "leaf")
    assert leaf.attempt is not None
    step = driver.id(leaf, "artifacts.publish")
    wanted = Wanted("flights")
    driver.machine.errand(leaf.attempt.handle, step, "artifacts.get", b"inputs", "", wanted)
    (errand,) = driver.machine.effects.errands
    assert errand.publisher == Publisher(
        root.run.key, root.run.epoch, root.run.name, 2, leaf.id, step
    )
    driver.settle()
    assert driver.recorded(leaf.id).seq == errand.publisher.seq
    outcome = Outcome(b"artifact", None, (b"b" * 32,))
    driver.machine.record(errand.parent, errand.record(outcome, driver.now))
    driver.settle()
    row = driver.recorded(step)
    assert (row.outcome, row.blobs) == (Outcome(b"artifact"), (b"b" * 32,))
    assert row.parent == driver.recorded(leaf.id).seq


def test_what_is_running_is_written_for_people_and_brief_work_is_not(driver: Driver) -> None:
    root = driver.start()
    driver.machine.flush()
    driver.settle()
    assert driver.recorded(root.id) is None
    driver.flush()
    assert driver.recorded(root.id).phase is Phase.RUNNING


# --- retries --------------------------------------------------------------------------------------


def test_a_failed_attempt_is_retried_after_its_backoff(driver: Driver) -> None:
    child = driver.call(driver.start(), spec(retries=1, base=2.0))
    driver.fail(child)
    assert child.stage is Stage.RETRYING
    driver.after(1.9)
    assert child.stage is Stage.RETRYING
    driver.after(0.2)
    assert child.stage is Stage.RUNNING
    driver.end(child)
    assert driver.outcome(child).value == b"value"


def test_a_spent_budget_makes_the_last_failure_the_outcome(driver: Driver) -> None:
    child = driver.call(driver.start(), spec(retries=2))
    for text in ("first", "second", "third"):
        driver.fail(child, error(text))
    assert driver.failure(child).message == "third"
    assert [row.failure.message for row in driver.attempts()] == ["first", "second"]
    assert driver.recorded(child.id).attempts == 3


def test_a_failure_the_filter_refuses_is_final(driver: Driver) -> None:
    child = driver.call(driver.start(), spec(retries=5))
    driver.fail(child, error("no", retryable=False))
    assert driver.failure(child).message == "no"


def test_an_attempt_that_failed_has_a_number_of_its_own(driver: Driver) -> None:
    child = driver.call(driver.start(), spec(retries=2))
    driver.fail(child)
    driver.kill(child)
    driver.fail(child)
    driver.end(child)
    assert [row.number for row in driver.attempts()] == [0, 1, 2]


def test_a_crash_of_the_controller_keeps_the_budget_spent(driver: Driver) -> None:
    task = spec(retries=1)
    child = driver.call(driver.start(), task)
    driver.fail(child)
    driver.flush()
    after = driver.restarted()
    child = after.call(after.start(), task)
    after.fail(child)
    assert after.failure(child).message == "boom"


# --- lost workers ---------------------------------------------------------------------------------


def test_a_lost_attempt_is_free(driver: Driver) -> None:
    child = driver.call(driver.start(), "child")
    for _ in range(3):
        driver.kill(child)
    assert (child.stage, child.charged, child.total_losses) == (Stage.RUNNING, 1, 3)


def test_a_guilty_attempt_is_charged(driver: Driver) -> None:
    child = driver.call(driver.start(), "child")
    driver.kill(child, guilty=True)
    assert driver.failure(child).code == "worker_lost"


def test_only_the_running_attempt_is_guilty_of_its_workers_end(driver: Driver) -> None:
    task = spec("recursive", is_async=True)
    root = driver.start(task)
    child = driver.call(root, task)
    assert driver.worker(root) is driver.worker(child)
    driver.kill(root, guilty=True)
    assert driver.failure(child).code == "worker_lost"
    assert (root.charged, root.total_losses) == (1, 1)


def test_an_attempt_lost_too_often_without_progress_ends_its_action(driver: Driver) -> None:
    child = driver.call(driver.start(), "child")
    for _ in range(MAX_LOSSES):
        driver.kill(child)
    assert child.stage is Stage.RUNNING
    driver.kill(child)
    assert driver.failure(child).code == "worker_lost"


def test_progress_makes_losses_bearable(driver: Driver) -> None:
    root = driver.start()
    for k in range(3 * MAX_LOSSES):
        driver.end(driver.call(root, k=k))
        driver.kill(root)
    assert root.stage is Stage.RUNNING
    assert root.charged == 1


def test_work_whose_workers_cannot_start_fails_with_the_reason(driver: Driver) -> None:
    driver.hold_workers = True
    root = driver.start()
    for _ in range(MAX_CRASHED_STARTS):
        number = driver.spawned.pop(0).number
        driver.machine.worker_gone(number, WorkerEnd(error("no such module"), guilty=True))
        driver.settle()
    assert driver.failure(root).message == "no such module"


# --- stop -----------------------------------------------------------------------------------------


def test_p8_cancelling_an_action_cancels_all_below_it(driver: Driver) -> None:
    root = driver.start()
    middle = driver.call(root, spec("middle", is_async=True))
    leaves = [driver.call(middle, "leaf", k) for k in range(12)]
    assert {leaf.stage for leaf in leaves} == {Stage.RUNNING, Stage.QUEUED}
    driver.machine.abort(root.run, None, "enough")
    driver.settle()
    for action in [*leaves, middle, root]:
        if action.attempt is not None:
            driver.fail(action)
        assert driver.failure(action).code == "cancelled"
    assert not root.run.actions
    assert driver.ended[0].failure.message == "enough"


def test_p8_an_attempt_that_does_not_stop_is_killed_after_the_grace_time(driver: Driver) -> None:
    root = driver.start()
    child = driver.call(root)
    number = driver.worker(child).number
    driver.machine.cancel_call(root.attempt.handle, child.id)
    driver.settle()
    assert [order.reason for order in driver.told(Interrupt)] == ["cancelled"]
    driver.after(0.4)
    assert driver.killed == []
    driver.after(0.2)
    assert driver.killed == [number]
    driver.kill(number)
    assert driver.failure(child).message == CANCELLED_BY_PARENT


def test_what_else_a_killed_worker_was_doing_is_free() -> None:
    driver = Driver(cpu=1)
    root = driver.start()
    stuck, other = (driver.call(root, spec(f"{k}", is_async=True)) for k in range(2))
    driver.sleep(stuck, 1000.0)
    assert driver.worker(stuck) is not driver.worker(other)
    driver.machine.abort(root.run, stuck.id, "enough")
    driver.after(0.6)
    driver.kill(driver.killed[0])
    assert driver.failure(stuck).message == "enough"
    assert other.charged == 1


def test_children_left_behind_are_cancelled_when_their_parent_ends(driver: Driver) -> None:
    root = driver.start()
    child = driver.call(root)
    driver.end(root)
    driver.fail(child)
    assert driver.failure(child).message == "its parent has ended"


def test_only_the_parent_may_cancel_a_call(driver: Driver) -> None:
    root = driver.start()
    child = driver.call(root)
    other = driver.call(root, "other")
    driver.machine.cancel_call(other.attempt.handle, child.id)
    driver.settle()
    assert driver.told(Interrupt) == []


def test_an_abort_ends_an_action_whose_time_limit_had_stopped_it_for_a_retry(
    driver: Driver,
) -> None:
    root = driver.start(spec("root", is_async=True, retries=9, timeout=Timeout(max_runtime=1.0)))
    driver.after(1.0)
    assert driver.machine.abort(root.run, None, "enough")
    driver.fail(root)
    assert driver.failure(root).message == "enough"


def test_a_finished_run_cannot_be_aborted(driver: Driver) -> None:
    root = driver.start()
    driver.end(root)
    assert not driver.machine.abort(root.run, None, "too late")


def test_a_dropped_run_leaves_nothing_behind(driver: Driver) -> None:
    root = driver.start()
    for k in range(20):
        driver.call(root, k=k)
    driver.machine.drop_run(root.run.key)
    driver.settle()
    assert not root.run.actions
    assert not driver.machine.scheduler.attempts
    assert sorted(driver.killed) == sorted(driver.machine.scheduler.staff.workers)
    assert not any(lane.queues for lane in driver.machine.scheduler.lanes.all.values())


# --- time limits ----------------------------------------------------------------------------------


def test_max_runtime_interrupts_then_kills_and_may_be_retried(driver: Driver) -> None:
    child = driver.call(driver.start(), spec(retries=1, timeout=Timeout(max_runtime=5.0)))
    number = driver.worker(child).number
    driver.after(5.0)
    assert [order.reason for order in driver.told(Interrupt)] == ["timeout"]
    driver.after(0.6)
    assert driver.killed == [number]
    driver.kill(number)
    assert child.charged == 2
    driver.after(5.0)
    driver.fail(child)
    assert driver.failure(child).message == "max_runtime of 5 s passed"


def test_max_runtime_counts_anew_for_each_attempt(driver: Driver) -> None:
    child = driver.call(driver.start(), spec(timeout=Timeout(max_runtime=5.0)))
    driver.after(4.0)
    driver.kill(child)
    driver.after(4.0)
    assert driver.told(Interrupt) == []


def test_max_queued_time_fails_what_waits_for_a_worker() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root"))
    driver.block(root)
    driver.call(root, "first")
    second = driver.call(root, spec("second", timeout=Timeout(max_queued_time=3.0)))
    driver.after(2.9)
    assert second.stage is Stage.QUEUED
    driver.after(0.2)
    assert driver.failure(second).message == "max_queued_time of 3 s passed"


@pytest.mark.parametrize("stage", [Stage.RUNNING, Stage.RETRYING, Stage.QUEUED, Stage.WAITING])
def test_a_deadline_ends_an_action_wherever_it_is(stage: Stage) -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root"))
    driver.block(root)
    late = spec("late", retries=9, base=60.0, timeout=Timeout(deadline=10.0))
    needs: tuple[bytes, ...] = ()
    if stage in (Stage.QUEUED, Stage.WAITING):
        blocker = driver.call(root, "blocker")
        needs = (blocker.id,) if stage is Stage.WAITING else ()
    action = driver.call(root, late, needs=needs)
    if stage is Stage.RETRYING:
        driver.fail(action)
    assert action.stage is stage
    driver.after(10.0)
    if stage is Stage.RUNNING:
        driver.fail(action)
    assert driver.failure(action).message == "deadline of 10 s passed"


def test_a_deadline_is_kept_while_a_time_limit_stops_the_attempt(driver: Driver) -> None:
    limits = Timeout(max_runtime=5.0, deadline=5.2)
    child = driver.call(driver.start(), spec(retries=9, timeout=limits))
    driver.after(5.0)
    driver.after(0.3)
    driver.fail(child)
    assert driver.failure(child).message == "deadline of 5.2 s passed"


# --- inputs ---------------------------------------------------------------------------------------


def test_an_action_waits_for_the_futures_in_its_inputs(driver: Driver) -> None:
    root = driver.start()
    first = driver.call(root, "first")
    second = driver.call(root, "second", needs=(first.id,))
    assert second.stage is Stage.WAITING
    driver.end(first, b"1")
    assert second.stage is Stage.RUNNING
    assert second.values == {first.id: b"1"}


def test_a_future_that_has_just_finished_is_at_hand(driver: Driver) -> None:
    root = driver.start()
    first = driver.call(root, "first")
    driver.end(first, b"1")
    second = driver.call(root, "second", needs=(first.id,))
    assert second.values == {first.id: b"1"}


def test_a_future_that_finished_long_ago_is_found_in_the_journal(driver: Driver) -> None:
    root = driver.start()
    first = driver.call(root, "first")
    driver.end(first, b"1")
    root.run.recent.clear()
    second = driver.call(root, "second", needs=(first.id,))
    assert second.stage is Stage.RUNNING
    assert second.values == {first.id: b"1"}


def test_a_future_that_failed_fails_what_needs_it(driver: Driver) -> None:
    root = driver.start()
    first = driver.call(root, "first")
    second = driver.call(root, "second", needs=(first.id,))
    driver.fail(first, error("no input"))
    assert driver.failure(second).message == "no input"
    assert driver.started() == ["root", "first"]


def test_a_future_of_an_unknown_action_fails_what_needs_it(driver: Driver) -> None:
    root = driver.start()
    id_ = driver.id(root, "task")
    driver.machine.call(root.attempt.handle, spec(), id_, b"inputs", (b"?" * 16,))
    driver.settle()
    assert "unknown here" in driver.delivered(id_)[0].failure.message


# --- what can never run ---------------------------------------------------------------------------


def test_a_demand_no_node_can_meet_fails_naming_the_shortage(driver: Driver) -> None:
    root = driver.start()
    id_ = driver.id(root, "big")
    driver.machine.call(root.attempt.handle, spec("big", cpu=99.0), id_, b"inputs")
    driver.settle()
    failure = driver.delivered(id_)[0].failure
    assert failure.code == "infeasible"
    assert "cpu=99" in failure.message


def test_recursion_without_end_fails(driver: Driver) -> None:
    action = driver.start()
    for _ in range(MAX_DEPTH):
        action = driver.call(action, spec("deeper", is_async=True))
    id_ = driver.id(action, "deeper")
    driver.machine.call(action.attempt.handle, spec("deeper", is_async=True), id_, b"inputs")
    driver.settle()
    assert driver.delivered(id_)[0].failure.code == "nesting_too_deep"


# --- messages that crossed ------------------------------------------------------------------------


def test_messages_of_attempts_that_are_gone_are_ignored(driver: Driver) -> None:
    root = driver.start()
    child = driver.call(root)
    gone = child.attempt.handle
    driver.kill(child)
    machine, before = driver.machine, child.attempt.handle
    machine.call(gone, spec(), b"x" * 16, b"inputs")
    machine.sleep(gone, b"x" * 16, 1.0)
    machine.lookup(gone, b"x" * 16)
    machine.blocked(gone)
    machine.unblocked(gone)
    machine.cancel_call(gone, child.id)
    machine.event(gone, "warning", "hello")
    machine.returned(999, [gone])
    machine.worker_gone(999, WorkerEnd(error(), guilty=True))
    driver.settle()
    assert (child.stage, child.attempt.handle) == (Stage.RUNNING, before)
    assert set(root.run.actions) == {root.id, child.id}


def test_a_hello_of_a_worker_nobody_asked_for_is_refused(driver: Driver) -> None:
    assert driver.machine.worker_ready(12345) is None


def test_a_commit_that_is_reported_twice_is_heard_once(driver: Driver) -> None:
    root = driver.start()
    child = driver.call(root)
    driver.end(child)
    driver.machine.committed([child])
    driver.settle()
    assert len(driver.delivered(child.id)) == 1
