"""What a parent that runs again finds of its earlier calls."""

from core.driver import Driver, Timeout, error, spec
from perdure._blobs.memory import MemoryBlobs
from perdure._core.lifecycle import CANCELLED_BY_PARENT
from perdure._core.model import Phase
from perdure._core.orders import Deliver, Unknown
from perdure._core.rows import NOTHING
from perdure._core.transitions import Stage
from perdure._serde import dumps

ROOT = spec("root", is_async=True)
RETRIED = spec("root", is_async=True, retries=2)


def test_a_recorded_value_is_delivered_without_running_anything() -> None:
    before = Driver()
    child = before.call(before.start(), "child")
    before.end(child, b"7")
    after = before.restarted()
    root = after.start(ROOT)
    after.machine.call(root.attempt.handle, spec("child"), child.id, b"inputs")
    after.settle()
    assert [o.value for o in after.delivered(child.id)] == [b"7"]
    assert after.started() == ["root"]


def test_a_recorded_failure_is_raised_again() -> None:
    before = Driver()
    child = before.call(before.start(), "child")
    before.fail(child, error("once"))
    after = before.restarted()
    after.machine.call(after.start(ROOT).attempt.handle, spec("child"), child.id, b"inputs")
    after.settle()
    assert [o.failure.message for o in after.delivered(child.id)] == ["once"]
    assert after.started() == ["root"]


def test_a_retried_parent_has_its_failed_children_tried_again() -> None:
    driver = Driver()
    root = driver.start(RETRIED)
    child = driver.call(root, "child")
    driver.fail(child)
    driver.fail(root)
    again = driver.call(root, "child")
    driver.end(again, b"better")
    assert [bool(o.failure) for o in driver.delivered(child.id)] == [True, False]


def test_a_crash_does_not_keep_a_retried_parent_from_having_failed_children_tried_again() -> None:
    before = Driver()
    root = before.start(RETRIED)
    child = before.call(root, "child")
    before.fail(child)
    before.fail(root)
    before.flush()
    after = before.restarted()
    again = after.call(after.start(RETRIED), "child")
    assert again.stage is Stage.RUNNING


def test_a_crash_does_not_keep_a_retried_child_from_having_its_children_tried_again() -> None:
    before = Driver(cpu=4)
    root = before.start(RETRIED)
    middle = before.call(root, spec("middle", is_async=True))
    leaf = before.call(middle, "leaf")
    before.fail(leaf)
    before.fail(middle)
    before.fail(root)
    before.call(root, spec("middle", is_async=True))
    before.flush()
    after = before.restarted()
    middle = after.call(after.start(RETRIED), spec("middle", is_async=True))
    assert after.call(middle, "leaf").stage is Stage.RUNNING


def test_a_child_that_was_in_flight_is_attached_to_when_the_parents_worker_died() -> None:
    driver = Driver(cpu=4)
    root = driver.start(ROOT)
    child = driver.call(root, "child")
    driver.kill(root)
    assert driver.call(root, "child") is child
    driver.end(child)
    assert len(driver.delivered(child.id)) == 1
    assert driver.started() == ["root", "child", "root"]


def test_a_child_the_parent_had_cancelled_is_held_until_it_is_cancelled_again() -> None:
    before = Driver(cpu=4)
    root = before.start(ROOT)
    child = before.call(root, "child")
    before.machine.cancel_call(root.attempt.handle, child.id)
    before.settle()
    before.fail(child, error("stopped"))
    assert before.failure(child).message == CANCELLED_BY_PARENT
    after = before.restarted()
    root = after.start(ROOT)
    held = after.call(root, "child")
    assert held.stage is Stage.WAITING
    after.machine.cancel_call(root.attempt.handle, child.id)
    after.settle()
    assert after.failure(child).message == CANCELLED_BY_PARENT
    assert after.started() == ["root"]


def test_a_held_child_runs_after_all_when_its_parent_does_not_cancel_it_again() -> None:
    before = Driver(cpu=4)
    root = before.start(ROOT)
    child = before.call(root, "child")
    before.after(2.0)
    before.machine.cancel_call(root.attempt.handle, child.id)
    before.fail(child, error("stopped"))
    after = before.restarted()
    held = after.call(after.start(ROOT), "child")
    after.after(4.0)
    assert held.stage is Stage.WAITING
    after.after(2.0)
    assert held.stage is Stage.RUNNING


def test_a_child_called_again_while_it_is_being_stopped_is_held_like_a_recorded_one() -> None:
    driver = Driver(cpu=4)
    root = driver.start(ROOT)
    child = driver.call(root, "child")
    driver.machine.cancel_call(root.attempt.handle, child.id)
    driver.kill(root)
    driver.call(root, "child")
    driver.fail(child, error("stopped"))
    assert driver.delivered(child.id) == []
    assert root.run.actions[child.id].stage is Stage.WAITING


def test_children_stopped_by_their_parents_time_limit_run_again_in_its_next_attempt() -> None:
    driver = Driver(cpu=4)
    task = spec("root", is_async=True, retries=1, timeout=Timeout(max_runtime=5.0))
    root = driver.start(task)
    child = driver.call(root, "child")
    driver.after(5.0)
    driver.fail(root)  # it was interrupted, and is attempted again at once
    assert root.charged == 2
    driver.call(root, "child")
    driver.fail(child, error("stopped"))
    assert driver.delivered(child.id) == []
    driver.end(root.run.actions[child.id], b"now")
    assert [o.value for o in driver.delivered(child.id)] == [b"now"]


def test_a_crash_after_a_time_limit_does_not_show_the_stopped_children_to_the_parent() -> None:
    before = Driver(cpu=4)
    task = spec("root", is_async=True, retries=1, timeout=Timeout(max_runtime=5.0))
    root = before.start(task)
    child = before.call(root, "child")
    before.after(5.0)
    before.fail(child, error("stopped"))
    after = before.restarted()
    assert after.call(after.start(task), "child").stage is Stage.RUNNING
    assert after.told(Deliver) == []


def test_a_sleep_stopped_by_the_parents_time_limit_goes_on_in_the_next_attempt() -> None:
    driver = Driver()
    task = spec("root", is_async=True, retries=1, timeout=Timeout(max_runtime=5.0))
    root = driver.start(task)
    nap = driver.sleep(root, 8.0)
    driver.after(5.0)
    driver.fail(root)
    driver.orders.clear()
    driver.sleep(root, 8.0)
    assert driver.delivered(nap.id) == []
    driver.after(3.0)
    assert [o.value for o in driver.delivered(nap.id)] == [NOTHING.value]


def test_a_durable_sleep_resumes_with_the_time_that_is_left() -> None:
    before = Driver()
    nap = before.sleep(before.start(), 60.0)
    before.after(45.0)
    after = before.restarted()
    after.sleep(after.start(ROOT), 60.0)
    after.after(14.0)
    assert after.delivered(nap.id) == []
    after.after(1.0)
    assert [o.value for o in after.delivered(nap.id)] == [NOTHING.value]


def test_a_sleep_that_ended_while_nobody_was_there_ends_at_once() -> None:
    before = Driver()
    nap = before.sleep(before.start(), 60.0)
    before.now += 100.0
    after = before.restarted()
    root = after.start(ROOT)
    after.machine.sleep(root.attempt.handle, nap.id, 60.0)
    after.settle()
    after.after(0.0)
    assert len(after.delivered(nap.id)) == 1


def test_a_sleeping_action_has_no_end_on_record() -> None:
    driver = Driver()
    nap = driver.sleep(driver.start(), 60.0)
    row = driver.recorded(nap.id)
    assert (row.ended, row.wake_at) == (None, driver.now + 60.0)


def test_a_recorded_step_is_delivered_and_an_unrecorded_one_is_absent() -> None:
    before = Driver()
    done = before.step(before.start(), "first", b"1")
    after = before.restarted()
    root = after.start(ROOT)
    other = after.id(root, "second")
    for each in (done, other):
        after.machine.lookup(root.attempt.handle, each)
    after.settle()
    assert [o.value for o in after.delivered(done)] == [b"1"]
    assert [order.id for order in after.told(Unknown)] == [other]


def test_a_step_is_recorded_with_the_times_its_worker_tells() -> None:
    driver = Driver()
    row = driver.recorded(driver.step(driver.start(), "step"))
    assert row.ended - row.started == 0.25


def test_an_action_stopped_while_the_journal_is_asked_keeps_its_recorded_value() -> None:
    before = Driver()
    root = before.start()
    child = before.call(root, "child")
    before.end(child, b"7")
    after = before.restarted()
    root = after.start(ROOT)
    after.hold_answers = True
    after.machine.call(root.attempt.handle, spec("child"), child.id, b"inputs")
    after.settle()
    after.machine.abort(root.run, None, "enough")
    after.settle()
    after.answer()
    after.fail(root)
    assert after.recorded(child.id).outcome.value == b"7"
    assert after.failure(root).code == "cancelled"
    assert not root.run.actions


def test_a_run_aborted_before_the_journal_has_answered_keeps_its_place() -> None:
    before = Driver()
    root = before.start()
    before.flush()
    after = before.restarted()
    after.hold_answers = True
    root = after.start(ROOT)
    assert after.machine.abort(root.run, None, "enough")
    after.settle()
    after.hold_answers = False
    after.answer()
    assert after.recorded(root.id).seq == before.recorded(root.id).seq == 1
    assert after.failure(root).code == "cancelled"
    assert after.journal.load_run("run").phase is Phase.ABORTED


def test_a_step_asked_for_by_a_stopped_attempt_leaves_no_row() -> None:
    before = Driver()
    before.step(before.start(), "first")
    after = before.restarted()
    root = after.start(ROOT)
    after.hold_answers = True
    second = after.id(root, "second")
    after.machine.lookup(root.attempt.handle, second)
    after.machine.abort(root.run, None, "enough")
    after.settle()
    after.hold_answers = False
    after.answer()
    after.fail(root)
    assert after.recorded(second) is None
    assert not root.run.actions


def test_a_run_whose_root_is_recorded_ends_with_it_and_says_so() -> None:
    before = Driver()
    root = before.start()
    before.end(root, b"9")
    after = before.restarted()
    after.start(ROOT)
    assert [o.value for o in after.ended] == [b"9"]
    assert [end.phase for end in after.run_ends()] == [Phase.SUCCEEDED]


def test_a_recorded_failure_of_the_root_is_tried_again_when_its_run_is_driven() -> None:
    before = Driver()
    before.fail(before.start())
    after = before.restarted()
    root = after.start(ROOT)
    after.end(root, b"better")
    assert [o.value for o in after.ended] == [b"better"]


def test_a_replay_that_does_not_call_a_recorded_child_is_reported() -> None:
    before = Driver()
    before.end(before.call(before.start(), "child"))
    after = before.restarted()
    after.end(after.start(ROOT))
    assert "did not call 1 recorded child" in after.journal.events[0].text
    assert after.ended[0].failure is None


def test_a_strict_run_fails_when_its_replay_diverges() -> None:
    before = Driver()
    before.end(before.call(before.start(), "child"))
    after = before.restarted()
    root = after.start(ROOT)
    root.run.strict = True
    after.end(root)
    assert after.ended[0].failure.code == "replay_diverged"


def test_a_sleep_resolves_to_what_values_decode_to_none() -> None:
    assert NOTHING.value == dumps(None, MemoryBlobs()).data


def test_a_value_made_of_what_a_stop_did_to_the_children_is_not_taken() -> None:
    driver = Driver(cpu=4)
    task = spec("root", is_async=True, retries=1, timeout=Timeout(max_runtime=5.0))
    root = driver.start(task)
    driver.call(root, "child")
    driver.after(5.0)
    driver.end(root, b"the child was cancelled, so what")
    assert driver.outcome(root) is None
    assert root.charged == 2
