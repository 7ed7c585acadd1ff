"""What the worker of a replayed attempt is told ahead of its calls, and what that saves."""

from core.driver import Driver, error, spec
from perdure._core import recollection
from perdure._core.orders import Deliver, Tell
from perdure._core.state import Action
from perdure._core.transitions import Stage

ROOT = spec("root", is_async=True)
MIDDLE = spec("middle", is_async=True)


def recorded(count: int) -> Driver:
    """Return a controller whose root has called so many children, which have ended."""
    before = Driver(cpu=4)
    root = before.start(ROOT)
    for k in range(count):
        before.end(before.call(root, "child", k), b"%d" % k)
    return before


def called(driver: Driver, parent: Action, name: str = "child", k: int = 0) -> Action | None:
    """Have the parent call a child by a message; return it unless its outcome is recorded."""
    id_ = driver.id(parent, name, k)
    assert parent.attempt is not None
    driver.machine.call(parent.attempt.handle, spec(name), id_, b"inputs")
    driver.settle()
    return parent.run.actions.get(id_)


def warnings(driver: Driver) -> list[str]:
    return [event.text for event in driver.journal.events]


def test_a_replay_is_told_all_recorded_values_page_by_page() -> None:
    after = recorded(10).restarted()
    root = after.start(ROOT)
    assert 0 < len(after.known(root)) < 10
    after.read_on(root)
    assert sorted(after.known(root).values()) == [b"%d" % k for k in range(10)]


def test_an_attempt_that_cannot_have_recorded_children_is_told_nothing() -> None:
    driver = recorded(1)
    assert driver.told(Tell) == []


def test_a_replay_that_makes_all_its_calls_ends_without_asking_the_journal() -> None:
    after = recorded(10).restarted()
    root = after.start(ROOT)
    after.read_on(root)
    assert [after.claim(root, "child", k) for k in range(10)] == [b"%d" % k for k in range(10)]
    after.hold_answers = True
    after.end(root)
    assert [o.failure for o in after.ended] == [None]
    assert warnings(after) == []


def test_an_action_that_had_called_nothing_ends_without_asking_the_journal_again() -> None:
    before = Driver(cpu=4)
    before.call(before.start(ROOT), "leaf")
    before.flush()
    after = before.restarted()
    leaf = after.call(after.start(ROOT), "leaf")
    after.hold_answers = True
    after.end(leaf)
    assert leaf.stage is Stage.COMMITTED


def test_a_told_child_that_is_not_called_is_reported() -> None:
    after = recorded(10).restarted()
    root = after.start(ROOT)
    after.read_on(root)
    for k in range(9):
        after.claim(root, "child", k)
    after.end(root)
    assert "did not call 1 recorded child" in warnings(after)[0]


def test_children_on_pages_that_were_never_sent_are_reported() -> None:
    after = recorded(10).restarted()
    root = after.start(ROOT)
    told = after.known(root)
    for k in range(len(told)):
        after.claim(root, "child", k)
    after.end(root)
    assert f"did not call {10 - len(told)} recorded children" in warnings(after)[0]


def test_a_failed_child_that_is_not_called_is_reported() -> None:
    before = recorded(1)
    before.fail(called(before, before.root(), "other"))
    after = before.restarted()
    root = after.start(ROOT)
    after.read_on(root)
    after.claim(root, "child")
    after.end(root)
    assert "did not call 1 recorded child" in warnings(after)[0]


def test_a_recorded_failure_is_not_told_but_delivered_when_it_is_called_for() -> None:
    before = recorded(3)
    before.fail(called(before, before.root(), "other"), error("once"))
    after = before.restarted()
    root = after.start(ROOT)
    after.read_on(root)
    assert len(after.known(root)) == 3
    called(after, root, "other")
    assert [o.failure.message for o in after.delivered(after.id(root, "other"))] == ["once"]
    assert after.started() == ["root"]


def test_a_child_that_was_in_flight_goes_on_in_its_place() -> None:
    before = recorded(3)
    child = called(before, before.root(), "other")
    before.flush()
    after = before.restarted()
    root = after.start(ROOT)
    after.read_on(root)
    again = called(after, root, "other")
    assert (again.seq, again.charged, again.total_losses) == (child.seq, 1, 1)


def test_what_the_journal_cannot_know_starts_without_asking_it() -> None:
    after = recorded(3).restarted()
    root = after.start(ROOT)
    after.read_on(root)
    after.hold_answers = True
    assert called(after, root, "new").stage is Stage.RUNNING


def test_until_the_worker_has_read_all_the_journal_is_asked() -> None:
    after = recorded(1).restarted()
    root = after.start(ROOT)
    assert after.known(root)
    assert called(after, root) is None  # it was on its way when the page arrived
    assert [o.value for o in after.delivered(after.id(root, "child"))] == [b"0"]
    assert after.started() == ["root"]


def test_what_an_earlier_attempt_left_in_flight_is_asked_for_although_no_page_has_it() -> None:
    after = recorded(1).restarted()
    root = after.start(ROOT)
    after.read_on(root)
    left = called(after, root, "new")
    after.kill(root)
    after.hold_commits = True
    after.read_on(root)
    after.end(left, b"late")
    after.hold_commits = False
    after.commit()
    assert called(after, root, "new") is None
    assert [o.value for o in after.delivered(left.id)] == [b"late"]
    assert after.started() == ["root", "new", "root"]


def test_an_action_below_one_that_is_attempted_again_is_asked_for_its_calls() -> None:
    before = Driver(cpu=4)
    root = before.start(ROOT)
    before.call(root, MIDDLE)
    before.flush()
    after = before.restarted()
    root = after.start(ROOT)
    after.read_on(root)
    middle = after.call(root, MIDDLE)
    assert middle.attempt.recollection.alone
    after.call(middle, "leaf")
    after.kill(root)
    assert not root.attempt.recollection.alone
    after.kill(middle)
    after.call(root, MIDDLE)
    assert not middle.attempt.recollection.alone


def test_more_failures_than_are_kept_end_the_pages(monkeypatch) -> None:
    before = Driver(cpu=4)
    root = before.start(ROOT)
    for k in range(9):
        child = before.call(root, "child", k)
        before.end(child) if k % 3 == 0 else before.fail(child, error(str(k)))
    monkeypatch.setattr(recollection, "OTHERS_LIMIT", 3)
    after = before.restarted()
    root = after.start(ROOT)
    for _ in range(5):
        after.machine.more(root.attempt.handle)
        after.settle()
    assert after.told(Tell)[-1].page.last
    told = after.known(root)
    assert len(told) == 1
    after.claim(root, "child")
    for k in range(1, 9):
        called(after, root, "child", k)
    assert len(after.told(Deliver)) == 8
    assert after.started() == ["root"]
    after.end(root)
    assert warnings(after) == []
