"""Environments with workers of their own, and attempts that run together in one of them."""

import math

import pytest

from core.driver import Driver, Stage, spec
from perdure._core.lifecycle import MAX_LOSSES
from perdure._core.model import Reuse, TaskSpec
from perdure._core.orders import Quit, TakeBack
from perdure._core.scheduling import PREFETCH_SECONDS, STUCK_SECONDS
from perdure._core.state import Action
from perdure._core.workers import Pool


def pooled(
    name: str = "task", *, is_async: bool = True, retries: int = 0, cpu: float = 1.0,
    memory: int = 0, **reuse: float,
) -> TaskSpec:  # fmt: skip
    """Return a task of the environment ``pool``."""
    policy = Reuse("pool", **reuse)  # type: ignore[arg-type]
    return spec(name, is_async=is_async, retries=retries, cpu=cpu, memory=memory, reuse=policy)


def called(driver: Driver, parent: Action, task: TaskSpec, n: int) -> list[Action]:
    """Let the parent call the task n times."""
    return [driver.call(parent, task, k=k) for k in range(n)]


def running(actions: list[Action]) -> int:
    return sum(each.attempt is not None for each in actions)


def workers(actions: list[Action]) -> set[int]:
    return {each.attempt.worker.number for each in actions if each.attempt}


# --- running together -----------------------------------------------------------------------------


def test_as_many_run_in_one_worker_as_its_concurrency_says() -> None:
    driver = Driver(cpu=1)
    calls = called(driver, driver.start(), pooled(concurrency=5), 8)
    assert running(calls) == 5
    assert len(workers(calls)) == 1
    driver.end(calls[0])
    assert running(calls) == 5


def test_they_hold_one_share_of_resources() -> None:
    driver = Driver(cpu=1, memory=100)
    root = driver.start(spec("root", is_async=True, cpu=0.0))
    calls = called(driver, root, pooled(concurrency=5, memory=60), 5)
    ledger = driver.machine.scheduler.ledger
    assert running(calls) == 5
    assert (ledger.cpu, ledger.space["memory"]) == (0, 40)
    for each in calls:
        driver.end(each)
    assert (ledger.cpu, ledger.space["memory"]) == (10_000, 100)


def test_waiting_parents_among_them_keep_one_share_of_memory() -> None:
    driver = Driver(cpu=1, memory=100)
    root = driver.start(spec("root", is_async=True, cpu=0.0))
    parents = called(driver, root, pooled("parent", concurrency=5, memory=60), 5)
    naps = [driver.sleep(each, 1.0) for each in parents]
    ledger = driver.machine.scheduler.ledger
    assert (ledger.cpu, ledger.space["memory"]) == (10_000, 40)
    assert naps
    driver.after(1.0)
    assert (ledger.cpu, ledger.space["memory"]) == (0, 40)


def test_waiting_parents_do_not_count() -> None:
    driver = Driver(cpu=1)
    parent, leaf = pooled("parent", concurrency=2), pooled("leaf", concurrency=2, max_workers=1)
    root = driver.start(parent)
    assert running(called(driver, root, leaf, 5)) == 2


def test_ready_workers_are_filled_evenly() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root", cpu=0.0))
    task = pooled(concurrency=10, min_workers=2, max_workers=2)
    for each in called(driver, root, task, 2):
        driver.end(each)
    driver.hold_workers = True
    calls = called(driver, root, pooled(concurrency=10, min_workers=2, max_workers=2), 8)
    per_worker = [sum(each.attempt.worker.number == n for each in calls) for n in workers(calls)]
    assert per_worker == [4, 4]


def test_no_more_workers_are_asked_for_than_the_work_fills() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root", cpu=0.0))
    driver.hold_workers = True
    called(driver, root, pooled(concurrency=10), 10)
    assert len(driver.spawned) == 1
    driver.call(root, pooled(concurrency=10), k=10)
    assert len(driver.spawned) == 2


def test_those_that_run_are_no_backlog_however_long_they_take() -> None:
    driver = Driver(cpu=4)
    root = driver.start()
    calls = called(driver, root, pooled(concurrency=5), 5)
    driver.after(STUCK_SECONDS * 2)
    driver.after(STUCK_SECONDS * 2)
    assert driver.told(TakeBack) == []
    assert running(calls) == 5


def test_a_worker_whose_attempts_take_long_gets_more_up_to_its_concurrency() -> None:
    driver = Driver(cpu=1)
    root = driver.start()
    task = pooled(concurrency=5)
    called(driver, root, task, 3)
    driver.after(STUCK_SECONDS * 2)
    assert driver.call(root, task, k=3).stage is Stage.RUNNING


def test_of_quick_ones_more_wait_behind_those_that_run_and_are_taken_back_if_they_are_stuck() -> (
    None
):
    driver = Driver(cpu=2)
    root = driver.start()
    task = pooled("tiny", concurrency=2)
    for k in range(30):
        driver.end(driver.call(root, task, k=100 + k), seconds=PREFETCH_SECONDS / 20)
    driver.hold_workers = True
    calls = called(driver, root, task, 8)
    assert running(calls) == 8
    driver.after(STUCK_SECONDS)
    driver.after(STUCK_SECONDS)
    (order,) = driver.told(TakeBack)
    assert order.attempts == tuple(each.attempt.handle for each in calls[2:])


def test_environments_have_workers_of_their_own() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root", is_async=True, cpu=0.0))
    mine = driver.call(root, pooled(concurrency=5))
    others = spec("other", is_async=True, reuse=Reuse("another", concurrency=5))
    assert driver.worker(driver.call(root, others)) is not driver.worker(mine)
    plain = spec("plain", is_async=True)
    assert driver.worker(driver.call(root, plain)) is not driver.worker(mine)


# --- bounds ---------------------------------------------------------------------------------------


def test_there_are_never_more_workers_than_replicas_allow() -> None:
    driver = Driver(cpu=8)
    root = driver.start(spec("root", cpu=0.0))
    calls = called(driver, root, pooled(is_async=False, max_workers=3), 8)
    assert running(calls) == 3
    driver.end(calls[0])
    assert running(calls) == 3
    assert len(workers(calls)) == 3


def test_the_least_number_is_started_together_although_one_would_do() -> None:
    driver = Driver(cpu=1)
    driver.call(driver.start(spec("root", cpu=0.0)), pooled(min_workers=3, max_workers=3))
    assert len(driver.machine.scheduler.staff.workers) == 4


@pytest.mark.parametrize("is_async", [True, False])
def test_a_parent_in_the_only_worker_does_not_starve_its_child(is_async: bool) -> None:
    driver = Driver(cpu=1)
    task = pooled(is_async=is_async, max_workers=1)
    root = driver.start(task)
    child = driver.call(root, pooled("child", is_async=is_async, max_workers=1))
    if not is_async:
        assert child.stage is Stage.QUEUED
        driver.block(root)
    assert child.stage is Stage.RUNNING


def test_the_room_that_a_waiting_parent_has_made_is_not_used_when_it_goes_on() -> None:
    driver = Driver(cpu=8)
    task = pooled(is_async=False, max_workers=1)
    root = driver.start(task)
    children = [driver.call(root, pooled("c", is_async=False, max_workers=1), k) for k in (1, 2)]
    driver.block(root)
    assert running(children) == 1
    driver.machine.unblocked(root.attempt.handle)  # type: ignore[union-attr]
    driver.end(children[0])
    assert len(driver.machine.scheduler.staff.workers) == 2
    assert running(children) == 0
    driver.block(root)
    assert running(children) == 1


def test_memory_for_one_is_enough_for_parent_and_children_in_one_worker() -> None:
    driver = Driver(cpu=1, memory=100)
    root = driver.start(pooled("parent", concurrency=4, max_workers=1, memory=60))
    children = called(driver, root, pooled("c", concurrency=4, max_workers=1, memory=60), 3)
    assert running(children) == 3


def test_older_work_with_another_demand_gets_its_turn_in_a_full_pool() -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root", cpu=0.0))
    small = pooled("small", concurrency=3, max_workers=1, cpu=0.5)
    first = called(driver, root, small, 2)
    other = driver.call(root, pooled("other", concurrency=3, max_workers=1))
    young = [driver.call(root, small, k=k) for k in (7, 8, 9)]
    assert running(young) == 0
    for each in first:
        driver.end(each)
    assert other.stage is Stage.RUNNING
    driver.end(other)
    assert running(young) == 3


# --- idle workers ---------------------------------------------------------------------------------


def left_after(driver: Driver, seconds: float, pool: Pool) -> int:
    """Return how many workers are left when so much time has passed."""
    driver.after(seconds)
    driver.machine.scheduler.let_go(driver.now)
    driver.settle()
    for number, order in driver.orders:
        if isinstance(order, Quit) and number in driver.machine.scheduler.staff.workers:
            driver.kill(number)
    return len(pool.workers)


def test_workers_beyond_the_least_go_first_and_the_others_when_nobody_uses_any() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root", cpu=0.0))
    task = pooled(is_async=False, min_workers=1, max_workers=3, scaledown_ttl=10.0, idle_ttl=100.0)
    first = called(driver, root, task, 3)
    for each in first:
        driver.end(each)
    assert first[0].task is not None
    pool = first[0].task.lane.pool
    assert left_after(driver, 9.0, pool) == 3
    assert left_after(driver, 2.0, pool) == 1
    driver.end(driver.call(root, task, k=9))
    assert left_after(driver, 99.0, pool) == 1
    assert left_after(driver, 2.0, pool) == 0
    assert driver.call(root, task, k=10).stage is Stage.RUNNING


def test_all_workers_go_when_nobody_uses_any_however_long_one_alone_is_kept() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root", cpu=0.0))
    task = pooled(is_async=False, min_workers=1, max_workers=3, scaledown_ttl=50.0, idle_ttl=3.0)
    first = called(driver, root, task, 3)
    for each in first[:2]:
        driver.end(each)
    assert first[0].task is not None
    pool = first[0].task.lane.pool
    assert left_after(driver, 10.0, pool) == 3
    driver.end(first[2])
    assert left_after(driver, 2.0, pool) == 3
    assert left_after(driver, 2.0, pool) == 0


# --- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 8, 100])
def test_of_those_that_ran_together_only_the_one_that_crashes_fails(n: int) -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root", is_async=True, cpu=0.0))
    calls = called(driver, root, pooled(concurrency=n), n)
    poison, crashes = calls[n // 3], 0
    while poison.attempt:
        driver.kill(poison, guilty=True)
        crashes += 1
        innocent = [each for each in calls if each is not poison and each.attempt]
        for each in innocent:
            if not poison.attempt or driver.worker(each) is not driver.worker(poison):
                driver.end(each)
    assert crashes <= math.ceil(math.log2(n)) + 1
    assert driver.failure(poison).code == "worker_lost"
    while left := [each for each in calls if each.attempt]:
        driver.end(left[0])
    assert all(driver.outcome(e).value for e in calls if e is not poison)  # type: ignore[union-attr]
    assert driver.run_ends() == []


def test_a_retry_of_the_one_that_crashes_is_charged_and_it_stays_alone() -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root", is_async=True, cpu=0.0))
    calls = called(driver, root, pooled(concurrency=2, max_workers=1, retries=1), 2)
    driver.kill(calls[0], guilty=True)
    assert [each.charged for each in calls] == [1, 0]
    assert running(calls) == 1
    driver.kill(calls[0], guilty=True)
    assert calls[0].stage is Stage.RUNNING
    assert running(calls) == 1
    driver.kill(calls[0], guilty=True)
    assert driver.failure(calls[0]).code == "worker_lost"
    assert calls[1].stage is Stage.RUNNING


def test_others_keep_away_from_one_that_has_to_be_alone() -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root", is_async=True, cpu=0.0))
    task = pooled(concurrency=4, max_workers=1)
    pair = called(driver, root, task, 2)
    driver.kill(pair[0], guilty=True)
    suspect = next(each for each in pair if each.attempt)
    other = driver.call(root, task, k=2)
    driver.sleep(suspect, 1.0)
    driver.kill(driver.worker(suspect).number)
    assert running([*pair, other]) == 1
    for each in (*pair, other):
        assert running([*pair, other]) == 1
        driver.end(each)


def test_others_keep_away_from_one_that_was_waiting_and_has_to_be_alone() -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root", is_async=True, cpu=0.0))
    task = pooled(concurrency=4, max_workers=1)
    pair = called(driver, root, task, 2)
    driver.kill(pair[0], guilty=True)
    driver.sleep(pair[0], 1.0)
    driver.end(pair[1])
    driver.after(1.0)
    other = driver.call(root, task, k=2)
    assert other.stage is Stage.QUEUED
    driver.end(pair[0])
    assert other.stage is Stage.RUNNING


def test_one_that_has_to_be_alone_does_not_follow_others() -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root", is_async=True, cpu=0.0))
    task = pooled(concurrency=4, max_workers=1)
    first, second = called(driver, root, spec("parent", is_async=True, cpu=0.0), 2)
    pair = called(driver, second, task, 2)
    driver.hold_workers = True
    driver.kill(pair[0], guilty=True)
    older = driver.call(first, task)
    driver.come_up()
    assert older.stage is Stage.RUNNING
    assert running(pair) == 0


def test_parents_that_wait_are_not_suspected() -> None:
    driver = Driver(cpu=2)
    root = driver.start(pooled("parent", concurrency=9, max_workers=1))
    children = called(driver, root, pooled("child", concurrency=9, max_workers=1), 2)
    driver.kill(root, guilty=True)
    assert root.company > 9
    assert {each.company for each in children} == {1}


def test_crashes_beside_a_parent_that_goes_on_do_not_repeat_for_ever() -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root", is_async=True, cpu=0.0))
    parent, leaf = called(driver, root, pooled(concurrency=9, max_workers=1), 2)
    driver.kill(leaf, guilty=True)
    crashes = 0
    while parent.attempt and not driver.outcome(leaf):
        driver.sleep(parent, 1.0)
        driver.after(1.0)
        assert workers([parent]) == workers([leaf])
        driver.kill(leaf, guilty=True)
        crashes += 1
    assert crashes == MAX_LOSSES + 1


def test_those_in_the_way_of_our_own_kills_run_again_as_often_as_it_takes() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root", is_async=True, cpu=0.0))
    task = pooled(concurrency=2, max_workers=1)
    innocent = driver.call(root, task, k=1000)
    for k in range(2 * MAX_LOSSES):
        stubborn = driver.call(root, task, k=k)
        driver.machine.abort(root.run, stubborn.id, "enough")
        driver.after(1.0)
        assert driver.killed[k:] == [driver.worker(innocent).number]
        driver.kill(innocent)
    driver.end(innocent)
    assert driver.outcome(innocent).value  # type: ignore[union-attr]


def test_what_somebody_kills_is_nobodys_fault() -> None:
    driver = Driver(cpu=2)
    root = driver.start()
    calls = called(driver, root, pooled(concurrency=5), 5)
    driver.kill(calls[0])
    assert running(calls) == 5
    assert {each.charged for each in calls} == {1}
    assert len(workers(calls)) == 1
