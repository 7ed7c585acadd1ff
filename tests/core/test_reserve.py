"""What older work lacks is left alone by younger work, and nothing else is."""

from core.driver import Driver, Stage, spec
from perdure._core.scheduling import PREFETCH_SECONDS
from perdure._core.state import Action

LICENCE = (("licence", 1.0),)


def waiting_root(driver: Driver) -> Action:
    """Return a root that needs nothing but a worker."""
    return driver.start(spec("root", is_async=True, cpu=0.0))


def test_cores_are_used_while_older_work_waits_for_a_licence() -> None:
    driver = Driver(cpu=2, custom=LICENCE)
    root = waiting_root(driver)
    licensed = [driver.call(root, spec("licensed", custom=LICENCE), k=k) for k in range(2)]
    plain = driver.call(root, "plain")
    assert [each.stage for each in licensed] == [Stage.RUNNING, Stage.QUEUED]
    assert plain.stage is Stage.RUNNING


def test_what_is_lacking_adds_up_however_many_small_requests_come_by() -> None:
    driver = Driver(cpu=8, memory=10)
    root = waiting_root(driver)
    running = [driver.call(root, spec("small", memory=2), k=k) for k in range(5)]
    big = driver.call(root, spec("big", memory=6))
    for k in range(5, 8):
        driver.end(running.pop(0))
        later = driver.call(root, spec("small", memory=2), k=k)
        assert later.stage is Stage.QUEUED
    assert big.stage is Stage.RUNNING


def test_who_waits_for_two_things_gets_both_although_each_alone_is_taken_all_the_time() -> None:
    driver = Driver(cpu=1, custom=LICENCE)
    root = waiting_root(driver)
    core, licence = driver.call(root, "core"), driver.call(root, spec("l", cpu=0.0, custom=LICENCE))
    both = driver.call(root, spec("both", custom=LICENCE))
    cores = [driver.call(root, "core", k=k) for k in range(1, 4)]
    licences = [driver.call(root, spec("l", cpu=0.0, custom=LICENCE), k=k) for k in range(1, 4)]
    driver.end(core)
    assert cores[0].stage is Stage.RUNNING  # the licence is not there yet, so it may compute
    driver.end(licence)
    assert licences[0].stage is Stage.QUEUED  # now it is kept,
    driver.end(cores[0])
    assert both.stage is Stage.RUNNING  # until there is a core


def test_what_needs_no_cpu_is_placed_while_older_work_waits_for_cores() -> None:
    driver = Driver(cpu=2)
    root = waiting_root(driver)
    driver.call(root, "first")
    big = driver.call(root, spec("big", cpu=2.0))
    free = driver.call(root, spec("free", cpu=0.0))
    assert (big.stage, free.stage) == (Stage.QUEUED, Stage.RUNNING)


def test_nothing_younger_is_queued_behind_what_has_the_cores_that_older_work_waits_for() -> None:
    driver = Driver(cpu=1)
    root = waiting_root(driver)
    tiny = driver.call(root, "tiny")
    assert tiny.task is not None
    tiny.task.seconds = PREFETCH_SECONDS / 10
    big = driver.call(root, spec("big", memory=1))
    young = [driver.call(root, "tiny", k=k) for k in range(1, 4)]
    assert {each.stage for each in young} == {Stage.QUEUED}
    driver.end(tiny)
    assert big.stage is Stage.RUNNING


def test_cores_are_set_aside_for_who_has_a_worker_with_devices_and_no_core() -> None:
    driver = Driver(cpu=2, gpus=("T4",))
    root = waiting_root(driver)
    driver.end(driver.call(root, spec("vision", cpu=2.0, gpu=1)))  # its worker stays
    busy = driver.call(root, "busy")
    vision = driver.call(root, spec("vision", cpu=2.0, gpu=1), k=1)
    later = [driver.call(root, "later", k=k) for k in range(2)]
    assert {each.stage for each in later} == {Stage.QUEUED}
    driver.end(busy)
    assert vision.stage is Stage.RUNNING
