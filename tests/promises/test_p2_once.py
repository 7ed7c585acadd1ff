"""P2: an action with a recorded outcome never runs again in its run."""

import pytest

from core.driver import Driver, spec
from perdure._core.orders import Deliver, Unknown


@pytest.fixture
def before() -> Driver:
    return Driver(cpu=4)


def test_p2_a_recorded_action_does_not_run_again_when_its_parent_does(before: Driver) -> None:
    root = before.start()
    child = before.call(root, "child")
    before.end(child, b"7")
    before.kill(root)
    before.machine.call(root.attempt.handle, spec("child"), child.id, b"inputs")
    before.settle()
    assert before.started() == ["root", "child", "root"]
    assert [o.value for o in before.delivered(child.id)] == [b"7", b"7"]


def test_p2_a_recorded_action_does_not_run_again_when_its_parent_is_retried(
    before: Driver,
) -> None:
    task = spec("root", is_async=True, retries=1)
    root = before.start(task)
    child = before.call(root, "child")
    before.end(child)
    before.fail(root)
    before.machine.call(root.attempt.handle, spec("child"), child.id, b"inputs")
    before.settle()
    assert before.started() == ["root", "child", "root"]


def test_p2_nothing_recorded_runs_again_after_a_crash(before: Driver) -> None:
    root = before.start()
    middle = before.call(root, spec("middle", is_async=True))
    leaf = before.call(middle, "leaf")
    before.end(leaf)
    step = before.step(middle, "step")
    after = before.restarted()
    root = after.start()
    middle = after.call(root, spec("middle", is_async=True))
    after.machine.call(middle.attempt.handle, spec("leaf"), leaf.id, b"inputs")
    after.machine.lookup(middle.attempt.handle, step)
    after.settle()
    assert after.started() == ["root", "middle"]
    assert [order.id for order in after.told(Deliver)] == [leaf.id, step]
    assert after.told(Unknown) == []


def test_p2_a_recorded_outcome_is_not_written_over_by_what_comes_late(before: Driver) -> None:
    root = before.start()
    child = before.call(root, "child")
    handle = child.attempt.handle
    before.end(child, b"first")
    before.machine.abort(root.run, child.id, "too late")
    before.machine.cancel_call(root.attempt.handle, child.id)
    before.machine.returned(1, [handle])
    before.settle()
    assert before.outcome(child).value == b"first"
    rows = [row for row in before.rows if getattr(row, "id", None) == child.id]
    assert len([row for row in rows if row.outcome]) == 1


def test_p2_a_run_that_has_its_outcome_does_not_start_again(before: Driver) -> None:
    before.end(before.start(), b"9")
    after = before.restarted()
    after.start()
    assert after.started() == []
    assert [o.value for o in after.ended] == [b"9"]
