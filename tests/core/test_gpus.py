"""GPUs belong to worker processes, one owner at a time, or one per share."""

import pytest

from core.driver import Driver, Stage, spec
from perdure._core.orders import Quit
from perdure._core.state import Action


def places(driver: Driver, actions: list[Action]) -> list[tuple[int, ...]]:
    """Return the devices of the workers of those that run."""
    return [driver.worker(each).devices for each in actions if each.attempt]


def gone(driver: Driver) -> int:
    """Let the workers end that were told to; return how many there were."""
    workers = driver.machine.scheduler.staff.workers
    left = [
        number for number, order in driver.orders if isinstance(order, Quit) and number in workers
    ]
    for number in left:
        driver.kill(number)
    return len(left)


def test_whole_devices_have_one_owner() -> None:
    driver = Driver(cpu=8, gpus=("T4", "T4", "T4"))
    root = driver.start(spec("root"))
    calls = [driver.call(root, spec("one", gpu=1), k=k) for k in range(4)]
    assert sorted(places(driver, calls)) == [(0,), (1,), (2,)]
    assert calls[3].stage is Stage.QUEUED
    driver.end(calls[0])
    assert driver.worker(calls[3]).devices == (0,)  # the same process goes on with it


def test_shares_are_packed_on_one_device() -> None:
    driver = Driver(cpu=8, gpus=("T4", "T4"))
    root = driver.start(spec("root"))
    calls = [driver.call(root, spec("part", gpu=0.5), k=k) for k in range(2)]
    whole = driver.call(root, spec("whole", gpu=1))
    assert places(driver, [*calls, whole]) == [(0,), (0,), (1,)]


def test_workers_of_tasks_that_ask_for_none_have_none() -> None:
    driver = Driver(cpu=4, gpus=("T4",))
    root = driver.start(spec("root"))
    assert places(driver, [root, driver.call(root, "plain")]) == [(), ()]


def test_devices_of_a_kind() -> None:
    driver = Driver(cpu=4, gpus=("Tesla T4", "NVIDIA A100-SXM4-40GB"))
    root = driver.start(spec("root"))
    assert driver.worker(driver.call(root, spec("a", gpu=1, device="A100"))).devices == (1,)
    assert driver.failure(driver.call(root, spec("b", gpu=1, device="H100"))).code == "infeasible"


def test_idle_workers_that_have_what_others_need_are_let_go() -> None:
    driver = Driver(cpu=4, gpus=("T4", "T4"))
    root = driver.start(spec("root"))
    for each in [driver.call(root, spec("one", gpu=1), k=k) for k in range(2)]:
        driver.end(each)
    other = driver.call(root, spec("other", gpu=1, is_async=True))
    assert other.stage is Stage.QUEUED
    assert gone(driver) == 1
    assert other.stage is Stage.RUNNING
    # Nobody has to go if that would not help.
    assert driver.call(root, spec("both", gpu=2)).stage is Stage.QUEUED
    assert gone(driver) == 0


def test_younger_work_does_not_live_off_the_devices_that_the_oldest_waits_for() -> None:
    driver = Driver(cpu=8, gpus=("T4", "T4"))
    root = driver.start(spec("root"))
    small = [driver.call(root, spec("small", gpu=1), k=k) for k in range(2)]
    big = driver.call(root, spec("big", gpu=2))
    young = driver.call(root, spec("small", gpu=1), k=2)
    plain = driver.call(root, "plain")
    assert plain.stage is Stage.RUNNING
    for each in small:
        driver.end(each)
        assert young.stage is Stage.QUEUED
    assert gone(driver) == 2
    assert big.stage is Stage.RUNNING
    driver.end(big)
    gone(driver)
    assert young.stage is Stage.RUNNING


def test_the_devices_of_a_worker_that_is_killed_are_free_when_it_is_gone() -> None:
    driver = Driver(cpu=4, gpus=("T4",))
    root = driver.start(spec("root"))
    call = driver.call(root, spec("one", gpu=1))
    driver.kill(call)
    assert driver.worker(call).devices == (0,)
    assert driver.machine.scheduler.staff.devices.left == [0]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_child_joins_its_parent_on_the_only_device_where_both_are_async(is_async: bool) -> None:
    driver = Driver(cpu=4, gpus=("T4",))
    task = spec("nested", gpu=1, is_async=is_async)
    root = driver.start(task)
    child = driver.call(root, task)
    if is_async:
        assert driver.worker(child) is driver.worker(root)
    else:
        assert "the parents that wait for it keep theirs of 1 (T4)" in driver.failure(child).message


def test_a_waiting_parent_keeps_its_device() -> None:
    driver = Driver(cpu=4, gpus=("T4", "T4"))
    root = driver.start(spec("root", gpu=1))
    child = driver.call(root, spec("child", gpu=1))
    driver.block(root, on=child)
    assert places(driver, [root, child]) == [(0,), (1,)]
