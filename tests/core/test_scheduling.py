"""Which work goes where, in which order, and how many workers there are."""

from core.driver import Driver, Stage, Timeout, spec
from perdure._core.orders import Quit, Start, TakeBack
from perdure._core.scheduling import (
    PREFETCH_LIMIT,
    PREFETCH_SECONDS,
    STUCK_SECONDS,
    prefetch_depth,
)
from perdure._core.staffing import IDLE_SECONDS, SURPLUS_SECONDS
from perdure._core.state import Action

TINY = PREFETCH_SECONDS / 20


def quick(driver: Driver, root: Action, name: str = "tiny") -> None:
    """Let the controller learn that tasks of that name take next to no time."""
    for k in range(30):
        driver.end(driver.call(root, name, k=1000 + k), seconds=TINY)


# --- order ----------------------------------------------------------------------------------------


def test_work_is_started_in_the_order_in_which_sequential_code_would_do_it() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root"))
    parents = [driver.call(root, spec(f"p{k}")) for k in range(3)]
    driver.block(root, on=parents[2])
    driver.call(parents[0], "p0.a")
    driver.block(parents[0], on=driver.call(parents[0], "p0.b"))
    for _ in range(4):
        running = next(a for a in root.run.actions.values() if a.attempt and not a.attempt.blocked)
        driver.end(running)
    assert driver.started() == ["root", "p0", "p0.a", "p0.b", "p1", "p2"]


def test_older_work_that_needs_much_is_not_starved_by_younger_that_needs_little() -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root"))
    small = [driver.call(root, "small", k=k) for k in range(2)]
    big = driver.call(root, spec("big", cpu=2.0))
    driver.block(root, on=big)
    young = driver.call(small[0], "young")
    driver.end(small[1])
    assert young.stage is Stage.RUNNING
    driver.end(young)
    later = [driver.call(root, "later", k=k) for k in range(3)]
    assert {each.stage for each in later} <= {Stage.QUEUED, Stage.RUNNING}
    driver.end(small[0])
    while big.stage is Stage.QUEUED:
        driver.end(next(each for each in later if each.attempt))
    assert big.stage is Stage.RUNNING


def test_runs_share_what_there_is() -> None:
    driver = Driver(cpu=2)
    first, second = driver.start(spec("root"), "a"), driver.start(spec("root"), "b")
    calls = [driver.call(first, "many", k=k) for k in range(10)]
    few = [driver.call(second, "few", k=k) for k in range(2)]
    for root in (first, second):
        driver.block(root)
    assert [sum(each.attempt is not None for each in group) for group in (calls, few)] == [1, 1]


# --- resources ------------------------------------------------------------------------------------


def test_no_more_runs_than_fits() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root", cpu=0.5))
    calls = [driver.call(root, spec("task", cpu=1.5), k=k) for k in range(4)]
    assert [each.stage for each in calls].count(Stage.RUNNING) == 2


def test_a_waiting_parent_gives_back_its_cpu_but_not_its_memory() -> None:
    driver = Driver(cpu=1, memory=10)
    root = driver.start(spec("root", memory=6))
    driver.block(root)
    assert driver.call(root, spec("lean", memory=4)).stage is Stage.RUNNING
    other = driver.start(spec("other", cpu=0.0), "other")
    assert driver.call(other, spec("fat", cpu=0.0, memory=5)).stage is Stage.QUEUED


# --- prefetch -------------------------------------------------------------------------------------


def test_prefetch_depth_follows_the_duration() -> None:
    driver = Driver()
    task = driver.start().task
    assert task is not None
    depths = {}
    for seconds in (None, 1.0, PREFETCH_SECONDS, PREFETCH_SECONDS / 4, 1e-9):
        task.seconds = seconds
        depths[seconds] = prefetch_depth(task)
    assert list(depths.values()) == [1, 1, 1, 4, PREFETCH_LIMIT]


def test_tasks_with_a_time_limit_or_with_calls_are_not_queued_on_workers() -> None:
    driver = Driver(cpu=4)
    root = driver.start()
    driver.call(root)
    assert root.task is not None
    root.task.seconds = 1e-9
    assert prefetch_depth(root.task) == 1
    limited = driver.call(root, spec("limited", timeout=Timeout(max_runtime=1.0))).task
    assert limited is not None
    limited.seconds = 1e-9
    assert prefetch_depth(limited) == 1


def test_a_worker_gets_more_of_quick_work_ahead_of_time() -> None:
    driver = Driver(cpu=1)
    root = driver.start()
    quick(driver, root)
    tiny = [driver.call(root, "tiny", k=k) for k in range(10)]
    assert sum(each.stage is Stage.RUNNING for each in tiny) > 5
    assert len({driver.worker(each).number for each in tiny if each.attempt}) == 1


def test_the_backlog_of_a_stuck_worker_goes_to_another_one() -> None:
    driver = Driver(cpu=2)
    root = driver.start()
    quick(driver, root)
    tiny = [driver.call(root, "tiny", k=k) for k in range(8)]
    stuck = driver.worker(tiny[0])
    assert stuck.load == 8
    driver.after(STUCK_SECONDS)
    driver.after(STUCK_SECONDS)
    handles = driver.told(TakeBack)[0].attempts
    assert tiny[0].attempt.handle not in handles
    driver.machine.returned(stuck.number, handles)
    driver.settle()
    assert list(stuck.attempts.values()) == [tiny[0].attempt]
    assert len({driver.worker(each) for each in tiny[1:]}) == 1
    assert driver.attempts() == []  # what was given back is not an attempt
    assert {each.charged for each in tiny} == {1}


def test_a_backlog_that_moves_stays_where_it_is() -> None:
    driver = Driver(cpu=2)
    root = driver.start()
    quick(driver, root)
    tiny = [driver.call(root, "tiny", k=k) for k in range(8)]
    for each in tiny:
        driver.end(each, seconds=TINY)
        driver.after(STUCK_SECONDS / 2)
    assert driver.told(TakeBack) == []


# --- who sits with whom ---------------------------------------------------------------------------


def test_leaves_keep_away_from_workers_that_host_waiting_parents() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root", is_async=True))
    leaf = driver.call(root, spec("leaf", is_async=True))
    assert driver.worker(leaf) is not driver.worker(root)


def test_waiting_orchestrators_share_a_worker() -> None:
    driver = Driver(cpu=4)
    task = spec("recursive", is_async=True)
    root = driver.start(task)
    workers = {driver.worker(driver.call(root, task, k=k)).number for k in range(3)}
    assert driver.worker(root).number in workers


def test_a_sync_worker_that_waits_gets_nothing_else() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root"))
    driver.block(root)
    child = driver.call(root, spec("root"))
    assert driver.worker(child) is not driver.worker(root)


# --- the number of workers ------------------------------------------------------------------------


def test_no_more_workers_are_asked_for_than_could_start_work_at_once() -> None:
    driver = Driver(cpu=3)
    root = driver.start(spec("root"))
    driver.hold_workers = True
    for k in range(100):
        driver.call(root, k=k)
    assert len(driver.spawned) == 2
    driver.come_up()
    assert len(driver.machine.scheduler.staff.workers) == 3


def test_idle_workers_retire_those_beyond_the_cores_first() -> None:
    driver = Driver(cpu=2)
    root = driver.start()
    calls = [driver.call(root, spec(cpu=0.25), k=k) for k in range(4)]
    for each in calls:
        driver.end(each)
    scheduler = driver.machine.scheduler

    def retired_after(seconds: float) -> int:
        driver.after(seconds)
        scheduler.let_go(driver.now)
        driver.settle()
        return len(driver.told(Quit))

    pool = calls[0].task.lane.pool
    assert len(pool.workers) == 4
    assert retired_after(SURPLUS_SECONDS - 1) == 0
    assert retired_after(2.0) == 2
    assert retired_after(IDLE_SECONDS) == 4


def test_a_retiring_worker_gets_nothing_to_do() -> None:
    driver = Driver(cpu=2)
    root = driver.start()
    driver.end(driver.call(root))
    driver.after(IDLE_SECONDS + 1)
    driver.machine.scheduler.let_go(driver.now)
    leaving = [w.number for w in driver.machine.scheduler.staff.workers.values() if w.stopping]
    assert driver.worker(driver.call(root, k=1)).number not in leaving


def test_a_lane_that_is_empty_remembers_nothing() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root"))
    driver.block(root)
    for k in range(5):
        driver.call(root, k=k)
    driver.machine.abort(root.run, None, "enough")
    driver.settle()
    assert not any(lane.queues for lane in driver.machine.scheduler.lanes.all.values())


def test_every_attempt_has_a_handle_of_its_own() -> None:
    driver = Driver(cpu=4)
    root = driver.start()
    for k in range(5):
        driver.call(root, k=k)
    handles = [order.attempt.handle for order in driver.told(Start)]
    assert len(set(handles)) == len(handles)
