"""What attempts may use, what happens to those that use more, and when the machine has no more."""

import pytest

from core.driver import Driver, Stage, error, spec
from perdure._core import failures
from perdure._core.allowances import QUICK_SECONDS
from perdure._core.ends import WorkerEnd
from perdure._core.model import MemoryUse, Reuse
from perdure._core.scheduling import PREFETCH_SECONDS
from perdure._core.state import Action
from perdure._core.strain import CALM_SECONDS, LEAST_USE, RELIEF_SECONDS

GIB = 1 << 30


def rooted(cpu: float = 2.0, memory: int = 1000) -> tuple[Driver, Action]:
    """Return a driver, and a root that takes up nothing."""
    driver = Driver(cpu=cpu, memory=memory)
    return driver, driver.start(spec("root", is_async=True, cpu=0.0))


def called(driver: Driver, root: Action, n: int, **options: object) -> list[Action]:
    task = spec("leaf", **options)  # type: ignore[arg-type]
    return [driver.call(root, task, k=k) for k in range(n)]


# --- limits ---------------------------------------------------------------------------------------


def test_a_worker_may_use_what_its_attempt_has_asked_for() -> None:
    driver, root = rooted()
    leaf = driver.call(root, spec("leaf", memory=200))
    assert driver.limits == {driver.worker(leaf).number: 200}


def test_workers_of_tasks_that_declare_no_memory_are_left_alone() -> None:
    driver, root = rooted()
    for each in called(driver, root, 3):
        driver.end(each)
    assert driver.limits == {}


def test_the_limit_ends_with_the_first_attempt_that_has_declared_none() -> None:
    driver, root = rooted(cpu=1)
    first = driver.call(root, spec("first", memory=200))
    number = driver.worker(first).number
    driver.end(first)
    second = driver.call(root, spec("second"))
    assert driver.worker(second).number == number
    assert driver.limits == {number: 0}


def test_a_blocked_parent_keeps_its_memory_and_so_does_its_worker() -> None:
    driver, root = rooted(cpu=1)
    task = spec("parent", is_async=True, memory=300, reuse=Reuse("pool", 1, 0, 1))
    parent = driver.call(root, task)
    child = driver.call(parent, task)
    assert driver.limits == {driver.worker(parent).number: 600}
    driver.end(child)
    assert driver.limits == {driver.worker(parent).number: 300}


def test_those_that_run_together_share_one_request_of_each_size() -> None:
    driver, root = rooted()
    small = spec("small", is_async=True, memory=100, reuse=Reuse("pool", 9))
    large = spec("large", is_async=True, memory=300, reuse=Reuse("pool", 9))
    a, b = (driver.call(root, small, k=k) for k in (1, 2))
    assert driver.limits == {driver.worker(a).number: 100}
    assert driver.worker(a) is driver.worker(b)
    assert driver.call(root, large).stage is Stage.RUNNING


# --- over the limit -------------------------------------------------------------------------------


def test_an_attempt_over_its_memory_fails_with_request_and_peak() -> None:
    driver, root = rooted()
    leaf = driver.call(root, spec("leaf", memory=200))
    driver.over(leaf, 450)
    failure = driver.failure(leaf)
    assert failure.code == "out_of_memory"
    assert failure.message == "it used 450 bytes of memory; its limit was 200 bytes"
    assert failure.memory == MemoryUse(200, 450)


def test_without_on_oom_it_is_a_failure_like_any_other() -> None:
    driver, root = rooted()
    leaf = driver.call(root, spec("leaf", memory=200, retries=1))
    driver.over(leaf, 450)
    assert leaf.charged == 2
    driver.over(leaf, 450)
    assert driver.failure(leaf).code == "out_of_memory"


def test_the_next_attempt_asks_for_more_and_no_retry_is_spent() -> None:
    driver, root = rooted()
    leaf = driver.call(root, spec("leaf", memory=200, on_oom=(400, 800)))
    driver.over(leaf, 250)
    assert driver.limits[driver.worker(leaf).number] == 400
    assert (leaf.charged, leaf.number) == (1, 1)
    driver.over(leaf, 450)
    assert driver.limits[driver.worker(leaf).number] == 800
    driver.end(leaf)
    assert driver.outcome(leaf).value == b"value"  # type: ignore[union-attr]
    assert [row.failure.memory for row in driver.attempts()] == [
        MemoryUse(200, 250),
        MemoryUse(400, 450),
    ]


def test_steps_that_would_not_suffice_are_skipped() -> None:
    driver, root = rooted()
    leaf = driver.call(root, spec("leaf", memory=100, on_oom=(200, 400, 800)))
    driver.over(leaf, 450)
    assert driver.limits[driver.worker(leaf).number] == 800


def test_when_there_are_no_more_steps_retries_are_spent() -> None:
    driver, root = rooted()
    leaf = driver.call(root, spec("leaf", memory=100, on_oom=(200,), retries=1))
    for peak in (150, 250, 250):
        driver.over(leaf, peak)
    assert driver.failure(leaf).memory == MemoryUse(200, 250)
    assert [row.number for row in driver.attempts()] == [0, 1]


def test_an_errors_retries_do_not_shrink_the_request() -> None:
    driver, root = rooted()
    leaf = driver.call(root, spec("leaf", memory=100, on_oom=(200,), retries=1))
    driver.over(leaf, 150)
    driver.fail(leaf, error())
    assert driver.limits[driver.worker(leaf).number] == 200
    assert leaf.charged == 2


def test_asking_for_more_than_there_is_fails_with_both_reasons() -> None:
    driver, root = rooted(memory=1000)
    leaf = driver.call(root, spec("leaf", memory=600, retries=3, on_oom=(1200,)))
    driver.over(leaf, 700)
    message = driver.failure(leaf).message
    assert "it used 700 bytes of memory; its limit was 600 bytes" in message
    assert "on_oom asks for more than there is: memory=" in message


def test_the_kernels_kill_counts_as_well() -> None:
    driver, root = rooted()
    leaf = driver.call(root, spec("leaf", memory=100, on_oom=(400,)))
    end = WorkerEnd(failures.out_of_memory("killed"), guilty=True)
    driver.machine.worker_gone(driver.worker(leaf).number, end)
    driver.settle()
    assert driver.limits[driver.worker(leaf).number] == 400


def test_a_childs_lack_of_memory_is_not_its_parents() -> None:
    driver, root = rooted()
    parent = driver.call(root, spec("parent", is_async=True, memory=100, on_oom=(400,)))
    told = failures.out_of_memory("a child's")
    passed_on = type(told)(told.type, told.message, code=told.code, payload=b"pickled")
    driver.fail(parent, passed_on)
    assert driver.failure(parent).message == "a child's"


# --- who is blamed --------------------------------------------------------------------------------


def test_what_others_left_behind_is_nobodys_fault() -> None:
    driver, root = rooted(cpu=1)
    first, second = called(driver, root, 2, memory=100)
    driver.end(first)
    driver.over(second, 110, before=60)
    assert second.stage is Stage.RUNNING
    assert (second.charged, second.total_losses) == (1, 1)


@pytest.mark.parametrize(("before", "blamed"), [(10, False), (9, True)])
def test_who_kept_to_what_is_let_pass_beyond_its_request_is_not_blamed(
    before: int, blamed: bool
) -> None:
    driver, root = rooted(cpu=1)
    first, second = called(driver, root, 2, memory=100)
    driver.end(first)
    driver.over(second, 210, before=before, spare=100)
    assert (second.stage is not Stage.RUNNING) is blamed


def test_it_is_not_looked_at_each_time_what_is_there_before_a_quick_one() -> None:
    driver, root = rooted(cpu=1)
    for k, looked in enumerate((True, False, False)):
        driver.limits.clear()
        leaf = driver.call(root, spec("leaf", memory=100), k=k)
        assert bool(driver.limits) is looked
        driver.end(leaf, seconds=QUICK_SECONDS / 10)


def test_where_quick_ones_follow_each_other_it_may_have_been_any_of_them() -> None:
    driver, root = rooted(cpu=1)
    task = spec("leaf", memory=100)
    driver.end(driver.call(root, task), seconds=PREFETCH_SECONDS / 10)
    calls = [driver.call(root, task, k=k) for k in range(1, 4)]
    driver.end(calls[0], seconds=PREFETCH_SECONDS / 10)
    driver.over(calls[1], 110, before=1)
    assert calls[1].stage is Stage.RUNNING
    driver.over(calls[1], 110, before=1)
    assert driver.failure(calls[1]).code == "out_of_memory"


def test_what_a_parent_holds_beside_it_does_not_excuse_a_child() -> None:
    driver, root = rooted(cpu=1)
    task = spec("parent", is_async=True, memory=300, reuse=Reuse("pool", 1, 0, 1))
    first = driver.call(root, task, k=1)
    driver.end(driver.call(first, task))
    child = driver.call(first, task, k=2)
    assert driver.worker(child) is driver.worker(first)
    assert driver.limits[driver.worker(child).number] == 600
    driver.over(child, 610, before=280)
    assert driver.failure(child).code == "out_of_memory"
    assert first.stage is Stage.RUNNING


def test_beside_a_parent_that_has_declared_none_nobody_can_say_how_much_is_too_much() -> None:
    driver, root = rooted(cpu=1)
    pool = Reuse("pool", 1, 0, 1)
    parent = driver.call(root, spec("parent", is_async=True, reuse=pool))
    child = driver.call(parent, spec("child", is_async=True, memory=300, reuse=pool))
    assert driver.worker(child) is driver.worker(parent)
    assert driver.limits.get(driver.worker(child).number, 0) == 0


def test_in_a_fresh_worker_there_is_nobody_else_to_blame() -> None:
    driver, root = rooted(cpu=1)
    (leaf,) = called(driver, root, 1, memory=100)
    driver.over(leaf, 110, before=60)
    assert driver.failure(leaf).code == "out_of_memory"


def test_of_those_that_run_together_the_one_that_takes_too_much_is_found() -> None:
    driver, root = rooted()
    pool = Reuse("pool", 8)
    calls = called(driver, root, 8, is_async=True, memory=100, reuse=pool)
    greedy, overruns = calls[3], 0
    while greedy.attempt:
        driver.over(greedy, 150)
        overruns += 1
        for each in calls:
            shared = (
                greedy.attempt and each.attempt and each.attempt.worker is greedy.attempt.worker
            )
            if each is not greedy and each.attempt and not shared:
                driver.end(each)
    assert driver.failure(greedy).code == "out_of_memory"
    assert overruns <= 4
    while left := [each for each in calls if each.attempt]:
        driver.end(left[0])
    assert sum(driver.outcome(e).failure is None for e in calls) == 7  # type: ignore[union-attr]


# --- the machine ----------------------------------------------------------------------------------


def at_work(n: int = 4) -> tuple[Driver, list[Action]]:
    """Return attempts that began one after the other."""
    driver, root = rooted(cpu=float(n))
    calls = []
    for k in range(n):
        calls.append(driver.call(root, spec("leaf"), k=k))
        driver.after(1.0)
    return driver, calls


def test_the_newest_attempt_is_stopped_and_runs_again_uncharged() -> None:
    driver, calls = at_work()
    newest = driver.worker(calls[-1]).number
    driver.low(GIB // 2, GIB, dict.fromkeys(calls, GIB))
    assert driver.killed == [newest]
    driver.kill(newest)
    assert calls[-1].stage is Stage.QUEUED
    assert (calls[-1].charged, calls[-1].total_losses) == (0, 1)
    assert "to protect" not in driver.attempts()[0].failure.message
    assert "512 MiB of memory left" in driver.attempts()[0].failure.message
    driver.end(calls[0])
    assert calls[-1].stage is Stage.RUNNING


def test_as_many_are_stopped_as_it_takes() -> None:
    driver, calls = at_work()
    workers = [driver.worker(each).number for each in calls]
    driver.low(0, GIB, {calls[0]: 5 * GIB, calls[1]: GIB, calls[2]: GIB, calls[3]: GIB})
    assert driver.killed == [workers[3], workers[2]]


def test_nobody_is_stopped_while_others_end_who_were() -> None:
    driver, calls = at_work()
    for _ in range(3):
        driver.low(GIB // 2, GIB, dict.fromkeys(calls, GIB))
    assert len(driver.killed) == 1


def test_those_that_use_little_are_left_alone() -> None:
    driver, calls = at_work()
    middle = driver.worker(calls[1]).number
    driver.low(0, GIB, {calls[0]: GIB, calls[1]: GIB, calls[3]: LEAST_USE - 1})
    assert driver.killed == [middle]


def test_memory_that_others_use_is_none_of_our_business() -> None:
    driver, calls = at_work()
    driver.low(0, GIB, dict.fromkeys(calls, LEAST_USE))
    assert driver.killed == []
    assert driver.machine.scheduler.strain.ceiling is None


def test_the_oldest_goes_on_until_there_is_nothing_left_at_all() -> None:
    driver, calls = at_work(1)
    driver.low(GIB // 4, GIB, {calls[0]: 9 * GIB})
    assert driver.killed == []
    driver.low(GIB // 5, GIB, {calls[0]: 9 * GIB})
    driver.kill(driver.killed[0])
    assert driver.failure(calls[0]).code == "out_of_memory"
    assert "nothing else to stop; it used 9 GiB" in driver.failure(calls[0]).message


def test_nothing_new_begins_until_it_is_over_and_then_one_by_one() -> None:
    driver, calls = at_work()
    root = driver.root()
    waiting = [driver.call(root, spec("leaf"), k=k) for k in range(10, 20)]
    driver.low(0, GIB, dict.fromkeys(calls, GIB))
    for number in list(driver.killed):
        driver.kill(number)
    busy = [each for each in (*calls, *waiting) if each.attempt]
    assert len(busy) == 2
    driver.after(RELIEF_SECONDS / 2)
    driver.low(GIB * 3 // 4, GIB, dict.fromkeys(calls[:1], 2 * GIB))
    driver.after(RELIEF_SECONDS / 2)
    assert len([e for e in (*calls, *waiting) if e.attempt]) == 2
    driver.after(RELIEF_SECONDS)
    assert len([e for e in (*calls, *waiting) if e.attempt]) == 3
    driver.after(RELIEF_SECONDS)
    assert len([e for e in (*calls, *waiting) if e.attempt]) == 4


def test_after_a_while_all_is_as_before() -> None:
    driver, calls = at_work()
    driver.low(0, GIB, dict.fromkeys(calls, GIB))
    for _ in range(int(CALM_SECONDS) + 2):
        driver.after(RELIEF_SECONDS)
    assert driver.machine.scheduler.strain.ceiling is None
    assert len(driver.machine.timers) == 0


@pytest.mark.parametrize("n", [2, 5])
def test_those_that_run_together_go_on_in_smaller_company(n: int) -> None:
    driver, root = rooted()
    first = driver.call(root, spec("first", is_async=True, cpu=0.0))
    driver.after(1.0)
    calls = called(driver, root, n, is_async=True, reuse=Reuse("pool", n))
    driver.low(GIB // 2, GIB, {first: GIB, calls[0]: GIB})
    driver.kill(driver.killed[0])
    assert {each.company for each in calls} == {n // 2}
