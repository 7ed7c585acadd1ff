"""Parents that could go on get their cpu share first, and learn nothing before."""

import pytest

from core.driver import Driver, Stage, spec
from perdure._core.state import Action


def is_told(driver: Driver, child: Action) -> bool:
    """Whether the parent has learned the child's outcome."""
    return bool(driver.delivered(child.id))


def withheld(driver: Driver, *, is_async: bool) -> tuple[Action, Action, Action]:
    """Return a parent, its child that has ended, and another's work that has taken the core."""
    root = driver.start(spec("root", is_async=is_async))
    child = driver.call(root, "child")
    if not is_async:
        driver.block(root, on=child)
    other = driver.start(spec("other"), "other")
    driver.end(child)
    return root, child, other


@pytest.mark.parametrize("is_async", [False, True])
def test_a_parent_learns_what_it_waited_for_once_its_share_is_free(is_async: bool) -> None:
    driver = Driver(cpu=1)
    root, child, other = withheld(driver, is_async=is_async)
    assert driver.outcome(child)
    assert other.stage is Stage.RUNNING
    assert not is_told(driver, child)
    driver.end(other)
    assert is_told(driver, child)
    assert root.attempt is not None
    assert not root.attempt.blocked
    assert driver.machine.scheduler.ledger.cpu == 0


@pytest.mark.parametrize("is_async", [False, True])
def test_nothing_is_placed_while_a_parent_waits_for_its_share(is_async: bool) -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root", is_async=is_async, cpu=2.0))
    child = driver.call(root, "child")
    if not is_async:
        driver.block(root, on=child)
    others = [driver.start(spec("other"), f"other {n}") for n in range(3)]
    driver.end(child)
    assert [each.stage for each in others].count(Stage.RUNNING) == 2
    driver.end(others[0])
    assert others[2].stage is Stage.QUEUED  # although it would fit
    driver.end(others[1])
    assert is_told(driver, child)
    driver.end(root)
    assert others[2].stage is Stage.RUNNING


def test_what_needs_no_cpu_is_placed_meanwhile() -> None:
    driver = Driver(cpu=1)
    _, child, other = withheld(driver, is_async=False)
    assert driver.call(other, spec("free", cpu=0.0)).stage is Stage.RUNNING
    assert not is_told(driver, child)


def test_of_several_parents_the_oldest_goes_on_first() -> None:
    driver = Driver(cpu=2)
    parents = [driver.start(spec("parent"), f"parent {n}") for n in range(2)]
    children = [driver.call(each, "child") for each in parents]
    for parent, child in zip(parents, children, strict=True):
        driver.block(parent, on=child)
    others = [driver.start(spec("other"), f"other {n}") for n in range(2)]
    driver.hold_commits = True
    driver.end(children[1])
    driver.end(children[0])
    driver.hold_commits = False
    driver.commit()
    assert [is_told(driver, child) for child in children] == [False, False]
    driver.end(others[1])
    assert [is_told(driver, child) for child in children] == [True, False]
    driver.end(others[0])
    assert [is_told(driver, child) for child in children] == [True, True]


def test_an_async_parent_that_calls_again_meanwhile_waits_on_and_learns_the_first() -> None:
    driver = Driver(cpu=1)
    root, child, _ = withheld(driver, is_async=True)
    assert not is_told(driver, child)
    driver.call(root, "another")
    assert is_told(driver, child)
    assert root.attempt is not None
    assert root.attempt.blocked
    assert not root.attempt.resuming


def test_parents_in_one_worker_follow_the_first_that_goes_on() -> None:
    driver = Driver(cpu=1)
    task = spec("parent", is_async=True)
    root = driver.start(task)
    parents = [driver.call(root, task, k=k) for k in range(2)]
    naps = [driver.sleep(each, 1.0) for each in parents]
    assert len({driver.worker(each) for each in parents}) == 1
    other = driver.start(spec("other"), "other")
    driver.after(1.0)
    assert [is_told(driver, nap) for nap in naps] == [False, False]
    driver.end(other)
    assert [is_told(driver, nap) for nap in naps] == [True, True]


def test_a_parent_that_goes_on_by_itself_gets_the_next_share() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root"))
    child = driver.call(root, "child")
    driver.block(root, on=child)
    assert root.attempt is not None
    driver.machine.unblocked(root.attempt.handle)
    driver.settle()
    assert driver.machine.scheduler.ledger.cpu == 0
    second = driver.call(root, "second")
    driver.end(child)
    assert is_told(driver, child)  # it runs: there is nothing to wait for
    assert second.stage is Stage.QUEUED
    assert not root.attempt.blocked


def test_an_outcome_that_does_not_end_the_wait_is_told_at_once() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root"))
    one, two = (driver.call(root, name) for name in ("one", "two"))
    driver.block(root, on=two)
    driver.end(one)
    assert two.stage is Stage.RUNNING
    assert is_told(driver, one)
    assert root.attempt is not None
    assert root.attempt.blocked


def test_who_waits_for_any_child_goes_on_with_the_first() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root"))
    one, two = (driver.call(root, name) for name in ("one", "two"))
    driver.block(root, seen=0)
    driver.end(one)
    assert two.stage is Stage.RUNNING
    assert not is_told(driver, one)
    driver.end(two)
    assert is_told(driver, one)
    assert is_told(driver, two)


@pytest.mark.parametrize("exact", [True, False])
def test_a_wait_that_an_outcome_on_its_way_will_end_is_none(exact: bool) -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root"))
    child = driver.call(root, "child")
    driver.end(child)
    assert is_told(driver, child)
    driver.block(root, **({"on": child} if exact else {"seen": 0}))
    assert root.attempt is not None
    assert not root.attempt.blocked
    driver.block(root, seen=1)
    assert root.attempt.blocked


@pytest.mark.parametrize("is_async", [False, True])
def test_a_parent_that_dies_before_it_could_go_on_is_replayed(is_async: bool) -> None:
    driver = Driver(cpu=1)
    root, child, other = withheld(driver, is_async=is_async)
    driver.kill(root)
    assert not driver.machine.scheduler.resuming
    driver.end(other)
    assert root.stage is Stage.RUNNING
    assert driver.known(root)[child.id]


def test_a_parent_that_is_stopped_before_it_could_go_on_ends() -> None:
    driver = Driver(cpu=1)
    root, child, other = withheld(driver, is_async=False)
    driver.machine.abort(root.run, None, "enough")
    driver.settle()
    driver.fail(root)
    assert driver.failure(root).code == "cancelled"
    assert not is_told(driver, child)
    driver.end(other)
    assert driver.machine.scheduler.ledger.cpu == 10_000


def test_a_parent_that_waits_again_keeps_nothing_of_who_came_to_its_worker_meanwhile() -> None:
    driver = Driver(cpu=8)
    root = driver.start(spec("root", is_async=True))
    parent = driver.call(root, spec("parent", is_async=True))
    driver.sleep(parent, 1.0)
    task = spec("neighbour", is_async=True, memory=1)
    driver.call(driver.call(root, task), "leaf")  # now it is known to make calls
    neighbours = [driver.call(root, task, k=k) for k in range(1, 3)]
    assert driver.worker(neighbours[1]) is driver.worker(parent)
    driver.after(1.0)
    driver.call(parent, "child")
    assert parent.attempt is not None
    assert parent.attempt.blocked
    assert parent.attempt.kept_space == ()
