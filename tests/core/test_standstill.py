"""Parents that keep what their children need: it is said, or one of them gives way."""

import pytest

from core.driver import Driver, Stage, spec
from perdure._core.model import Reuse
from perdure._core.records import EventRow
from perdure._core.standstill import PATIENCE_SECONDS
from perdure._core.state import Action


def families(driver: Driver, memory: int) -> list[tuple[Action, Action]]:
    """Start two parents that ask for so much, each waiting for a child that does."""
    parents = [driver.start(spec("parent", memory=memory), f"run {n}") for n in range(2)]
    children = [driver.call(each, spec("child", memory=memory)) for each in parents]
    for parent, child in zip(parents, children, strict=True):
        driver.block(parent, on=child)
    return list(zip(parents, children, strict=True))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_can_never_run_beside_its_waiting_parents_fails_at_once(is_async: bool) -> None:
    driver = Driver(cpu=4, memory=10 << 30)
    root = driver.start(spec("root", is_async=is_async, memory=3 << 30))
    parent = driver.call(root, spec("parent", is_async=is_async, memory=4 << 30))
    child = driver.call(parent, spec("child", memory=4 << 30))
    assert driver.failure(child).message == (
        "memory=4.00 GiB was asked for; the parents that wait for it keep 7.00 GiB of the 10.00 "
        "GiB there are"
    )
    assert driver.call(parent, spec("lean", memory=3 << 30)).stage is Stage.RUNNING


def test_those_that_run_together_need_no_more_than_one_share() -> None:
    driver = Driver(cpu=4, memory=10)
    pool = Reuse("pool", concurrency=3)
    root = driver.start(spec("root", is_async=True, memory=6, reuse=pool))
    leaf = driver.call(root, spec("leaf", is_async=True, memory=6, reuse=pool))
    assert driver.worker(leaf) is driver.worker(root)


def test_the_youngest_of_parents_that_stand_in_each_others_way_gives_way() -> None:
    driver = Driver(cpu=4, memory=10)
    (_, first), (young, second) = families(driver, 4)
    assert [first.stage, second.stage] == [Stage.QUEUED, Stage.QUEUED]
    driver.after(PATIENCE_SECONDS)
    assert driver.killed == [driver.worker(young).number]
    driver.kill(driver.worker(young).number)
    assert Stage.RUNNING in (first.stage, second.stage)
    assert young.stage is Stage.QUEUED  # it does not take again what others wait for
    assert (young.charged, young.losses) == (0, 0)
    told = [row.text for row in driver.rows if isinstance(row, EventRow)]
    assert "older work needs to go on (child of run run 0)" in told[0]
    while running := [
        a.action for a in driver.machine.scheduler.attempts.values() if not a.blocked
    ]:
        driver.end(running[0])
    assert [outcome.value for outcome in driver.ended] == [b"value", b"value"]
    assert len(driver.killed) == 1


def test_a_parent_gives_way_although_others_who_have_nothing_to_do_with_it_compute() -> None:
    driver = Driver(cpu=4, memory=10)
    busy = driver.start(spec("busy"), "busy")
    ((_, _), (young, _)) = families(driver, 4)
    driver.after(PATIENCE_SECONDS)
    assert driver.killed == [driver.worker(young).number]
    assert busy.stage is Stage.RUNNING
    driver.after(PATIENCE_SECONDS)
    assert len(driver.killed) == 1  # once: what it keeps is about to be free


@pytest.mark.parametrize("naps", [False, True])
def test_nobody_gives_way_while_a_child_of_who_keeps_it_moves(naps: bool) -> None:
    driver = Driver(cpu=4, memory=10)
    parent = driver.start(spec("parent", is_async=True, memory=6), "keeper")
    waiting = driver.start(spec("waiting", memory=6), "waiting")
    child = driver.sleep(parent, 1.5 * PATIENCE_SECONDS) if naps else driver.call(parent, "child")
    driver.after(PATIENCE_SECONDS)
    driver.after(PATIENCE_SECONDS)
    assert driver.killed == []
    if not naps:
        driver.end(child)
    driver.end(parent)
    assert waiting.stage is Stage.RUNNING


def test_who_sleeps_for_long_gives_way_and_comes_behind_what_waited() -> None:
    driver = Driver(cpu=4, memory=10)
    root = driver.start(spec("root", is_async=True))
    sleeper = driver.call(root, spec("sleeper", is_async=True, memory=6))
    waiting = [driver.call(root, spec("waiting", memory=6), k=k) for k in range(2)]
    driver.sleep(sleeper, 1000 * PATIENCE_SECONDS)
    driver.after(PATIENCE_SECONDS)
    assert len(driver.killed) == 1
    driver.kill(sleeper)
    for each in waiting:
        assert each.stage is Stage.RUNNING
        assert sleeper.stage is Stage.QUEUED
        driver.end(each)
    assert sleeper.stage is Stage.RUNNING


def test_a_call_that_can_never_run_because_its_parent_has_grown_fails() -> None:
    driver = Driver(cpu=4, memory=10)
    root = driver.start(spec("root", is_async=True, memory=4, on_oom=(8,)))
    driver.end(driver.start(spec("other", is_async=True), "other"))  # leaves a worker for it
    first = driver.call(root, spec("child", memory=6))
    second = driver.call(root, spec("child", memory=6), k=1)
    driver.over(root, peak=5)
    driver.end(first)
    assert root.stage is Stage.RUNNING
    driver.after(PATIENCE_SECONDS)
    assert driver.failure(second).code == "infeasible"


def test_licences_and_the_like_are_kept_as_well() -> None:
    driver = Driver(cpu=4, custom=(("licence", 2.0),))
    licensed = spec("licensed", custom=(("licence", 1.0),))
    root = driver.start(licensed)
    child = driver.call(root, licensed)
    driver.block(root, on=child)
    assert child.stage is Stage.RUNNING
    failure = driver.failure(driver.call(child, licensed))
    assert failure.message.startswith("licence=1 was asked for; the parents that wait for it keep")
