"""Workers that are started up before their first attempt, replaced when spent, or of one run."""

import pytest

from core.driver import DIED, Driver, Stage, spec
from core.test_reuse import called, pooled, running, workers
from perdure._core import failures
from perdure._core.machine import MAX_CRASHED_STARTS, WorkerEnd
from perdure._core.model import Failure, Loader, Reuse, SecretRef
from perdure._core.orders import Quit
from perdure._core.records import EventRow
from perdure._core.scheduling import PREFETCH_SECONDS
from perdure._core.state import Action
from perdure._core.workers import Pool, Worker
from perdure.errors import SecretNotFoundError

HOOK = Loader("module", "models", "load")
BROKEN = Failure("builtins.OSError", "no model", retryable=False)


def quitters(driver: Driver) -> list[int]:
    """Return the workers that were told to end, in order."""
    return [number for number, order in driver.orders if isinstance(order, Quit)]


def let_go(driver: Driver) -> None:
    """Workers that were told to end do so."""
    for number in quitters(driver):
        if number in driver.machine.scheduler.staff.workers:
            driver.kill(number)


def pool_of(action: Action) -> Pool:
    assert action.task is not None
    return action.task.lane.pool


# --- replaced when spent --------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [True, False])
def test_a_worker_is_replaced_after_so_many_attempts(is_async: bool) -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root", cpu=0.0))
    task = pooled(is_async=is_async, max_attempts=2)
    seen = []
    for k in range(5):
        call = driver.call(root, task, k=k)
        seen.append(driver.worker(call).number)
        driver.end(call)
        let_go(driver)
    assert [seen.count(number) for number in dict.fromkeys(seen)] == [2, 2, 1]
    assert quitters(driver) == list(dict.fromkeys(seen))[:2]


def test_each_attempt_of_an_isolated_task_has_a_worker_of_its_own() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root", cpu=0.0))
    task = pooled(is_async=False, max_attempts=1)
    calls = called(driver, root, task, 12)
    seen: set[int] = set()
    while left := [each for each in calls if each.attempt]:
        seen |= workers(left)
        assert len(workers(left)) == running(left)
        driver.end(left[0])
        let_go(driver)
    assert len(seen) == 12


def test_no_more_is_queued_on_a_worker_than_it_may_do() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root", cpu=0.0))
    for k in range(30):
        driver.end(driver.call(root, pooled("tiny"), k=100 + k), seconds=PREFETCH_SECONDS / 20)
    driver.hold_workers = True
    task = pooled("tiny", max_attempts=3)
    first = called(driver, root, task, 9)
    driver.come_up()
    for each in first[:1]:
        driver.end(each, seconds=PREFETCH_SECONDS / 20)
    for number in workers(first):
        assert sum(each.attempt.worker.number == number for each in first if each.attempt) <= 3


def test_an_attempt_that_was_given_back_unstarted_does_not_count() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root", cpu=0.0))
    call = driver.call(root, pooled(is_async=False, max_attempts=1))
    worker = driver.worker(call)
    assert call.attempt is not None
    driver.machine.returned(worker.number, [call.attempt.handle])
    driver.settle()
    assert driver.worker(call) is worker
    assert quitters(driver) == []


@pytest.mark.parametrize("is_async", [True, False])
def test_a_waiting_parent_in_a_spent_worker_does_not_starve_its_child(is_async: bool) -> None:
    driver = Driver(cpu=1)
    task = pooled(is_async=is_async, max_workers=1, max_attempts=1)
    root = driver.start(task)
    for k in range(3):
        child = driver.call(
            root, pooled("child", is_async=is_async, max_workers=1, max_attempts=1), k=k
        )
        driver.block(root)
        assert child.stage is Stage.RUNNING
        driver.end(child)
        let_go(driver)
    driver.end(root)
    assert [end.phase for end in driver.run_ends()][-1] == "succeeded"


def test_orchestrators_that_wait_in_spent_workers_leave_room_for_others() -> None:
    driver = Driver(cpu=1)
    task = pooled("deep", max_attempts=1)
    action = driver.start(task)
    for _ in range(5):
        action = driver.call(action, task)
        assert action.stage is Stage.RUNNING


def test_a_worker_that_has_grown_too_large_ends_what_it_has_and_goes() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root", cpu=0.0))
    task = pooled(concurrency=2, max_workers=1)
    first, second = called(driver, root, task, 2)
    worker = driver.worker(first)
    driver.machine.worn(worker.number)
    driver.end(first)
    assert quitters(driver) == []
    third = driver.call(root, task, k=7)
    assert third.stage is Stage.QUEUED
    driver.end(second)
    assert quitters(driver) == [worker.number]
    let_go(driver)
    assert third.stage is Stage.RUNNING
    driver.machine.worn(worker.number)  # it is long gone


# --- started up -----------------------------------------------------------------------------------


def starting(driver: Driver, n: int = 1) -> list[Action]:
    """Call a task n times whose workers are started up first; they are not yet."""
    driver.hold_workers = True
    root = driver.start(spec("root", cpu=0.0))
    driver.come_up()
    driver.spawned.clear()
    return called(driver, root, pooled(startup=HOOK), n)


def start_up(driver: Driver, worker: Worker, failure: Failure | None = None) -> None:
    """The worker has called the hook; if that failed, it ends."""
    driver.machine.started_up(worker.number, failure, 2.0)
    driver.settle()
    if failure is not None:
        driver.machine.worker_gone(worker.number, WorkerEnd(DIED, guilty=False))
        driver.settle()


def test_nothing_is_given_to_a_worker_before_it_was_started_up() -> None:
    driver = Driver(cpu=1)
    (call,) = starting(driver)
    (worker,) = driver.spawned
    assert driver.machine.expected(worker.number) is worker
    assert call.stage is Stage.QUEUED
    start_up(driver, worker)
    assert driver.worker(call) is worker
    assert driver.machine.expected(worker.number) is None


def test_people_are_told_how_long_it_took() -> None:
    driver = Driver(cpu=1)
    starting(driver)
    start_up(driver, driver.spawned[0])
    assert [row.text for row in driver.rows if isinstance(row, EventRow)] == [
        "a worker of environment pool was started up (2.0 s)"
    ]


def test_calls_that_wait_fail_with_what_the_hook_raised_in_several_workers_in_a_row() -> None:
    driver = Driver(cpu=1)
    calls = starting(driver, 3)
    for n in range(MAX_CRASHED_STARTS):
        assert all(each.stage is Stage.QUEUED for each in calls), n
        start_up(driver, driver.spawned[-1], BROKEN)
    assert [driver.failure(each) for each in calls] == [BROKEN] * 3
    assert len(driver.spawned) == MAX_CRASHED_STARTS
    assert not pool_of(calls[0]).workers


def test_a_later_call_has_the_hook_tried_again() -> None:
    driver = Driver(cpu=1)
    (call,) = starting(driver)
    for _ in range(MAX_CRASHED_STARTS):
        start_up(driver, driver.spawned[-1], BROKEN)
    later = driver.call(driver.root(), pooled(startup=HOOK), k=5)
    start_up(driver, driver.spawned[-1])
    assert later.stage is Stage.RUNNING
    assert driver.failure(call) == BROKEN


def test_a_hook_that_fails_once_in_a_while_fails_nobody() -> None:
    driver = Driver(cpu=1)
    (call,) = starting(driver)
    start_up(driver, driver.spawned[-1], BROKEN)
    start_up(driver, driver.spawned[-1])
    assert call.stage is Stage.RUNNING
    assert pool_of(call).crashed_starts == 0


def test_if_no_other_worker_would_do_better_none_is_tried() -> None:
    driver = Driver(cpu=1)
    driver.hold_workers = True
    root = driver.start(spec("root", cpu=0.0))
    driver.come_up()
    driver.spawned.clear()
    call = driver.call(root, spec(reuse=Reuse(secrets=(SecretRef("token", "TOKEN"),))))
    (worker,) = driver.spawned
    missing = failures.unplaced(SecretNotFoundError("no token"))
    driver.machine.worker_gone(worker.number, WorkerEnd(missing, guilty=True, final=True))
    driver.settle()
    assert driver.failure(call) == missing
    assert len(driver.spawned) == 1


# --- whose they are -------------------------------------------------------------------------------


def test_workers_have_the_secrets_of_all_their_tasks_and_no_others() -> None:
    driver = Driver(cpu=8)
    root = driver.start(spec("root", cpu=0.0))
    one, two = SecretRef("one", "ONE"), SecretRef("two", "TWO")
    sets = [(), (one,), (two,), (one, two), (one,)]
    calls = [
        driver.call(root, spec(f"task{k}", reuse=Reuse(secrets=each)))
        for k, each in enumerate(sets)
    ]
    pools = [pool_of(each) for each in calls]
    assert len({id(pool) for pool in pools}) == 4
    assert pools[1] is pools[4]


def test_each_run_has_workers_of_its_own_that_go_with_it() -> None:
    driver = Driver(cpu=8)
    task = pooled(per_run=True, is_async=False)
    first, second = (driver.start(spec("root", cpu=0.0), name) for name in ("a", "b"))
    calls = [driver.call(root, task) for root in (first, second)]
    assert len(workers(calls)) == 2
    scheduler = driver.machine.scheduler
    driver.end(calls[0])
    driver.end(first)
    scheduler.let_go(driver.now)
    driver.settle()
    let_go(driver)
    driver.end(calls[1])
    scheduler.let_go(driver.now)
    driver.settle()
    assert pool_of(calls[1]).key in scheduler.staff.pools
    assert pool_of(calls[1]).workers
    assert pool_of(calls[0]).key not in scheduler.staff.pools
    assert [lane for lane in scheduler.lanes.all.values() if lane.pool is pool_of(calls[0])] == []
