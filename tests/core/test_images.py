"""What the core knows of images: workers are apart, and what is left out of them is told."""

import msgspec
import pytest

from core.driver import Driver, spec
from perdure._core import failures
from perdure._core.machine import WorkerEnd
from perdure._core.model import ImageRef, TaskSpec
from perdure._core.records import EventRow
from perdure.errors import EnvironmentBuildError, EnvironmentUnavailableError

BASE = "only containers have the base image x"


def imaged(name: str = "task", recipe: bytes = b"", unapplied: str = "") -> TaskSpec:
    return msgspec.structs.replace(spec(name), image=ImageRef(recipe, unapplied))


@pytest.fixture
def driver() -> Driver:
    return Driver(cpu=8)


def told(driver: Driver) -> list[tuple[str, str]]:
    return [(row.kind, row.text) for row in driver.rows if isinstance(row, EventRow)]


def test_tasks_of_different_recipes_do_not_share_workers(driver: Driver) -> None:
    root = driver.start()
    here, there = driver.call(root, imaged("a")), driver.call(root, imaged("b", b"recipe"))
    assert here.attempt is not None
    assert there.attempt is not None
    pools = {each.attempt.worker.pool.key[4] for each in (here, there) if each.attempt}
    assert pools == {b"", b"recipe"}


def test_what_is_left_out_of_an_image_is_told_once_for_each_run_and_once_at_all(
    driver: Driver,
) -> None:
    root = driver.start()
    for name in "abc":
        driver.call(root, imaged(name, unapplied=BASE))
    again = driver.start(name="again")
    driver.call(again, imaged("a", unapplied=BASE))
    assert told(driver) == [("notice", BASE)] * 2
    assert driver.machine.effects.warnings == [BASE]


def test_a_run_remembers_which_of_its_tasks_have_which_images(driver: Driver) -> None:
    root = driver.start()
    for name in "aba":
        driver.call(root, imaged(name, b"\1\2"))
    assert told(driver) == [("image", f"{name}:  [0102]") for name in "ab"]


def test_nothing_is_left_out_of_an_image_in_a_strict_run(driver: Driver) -> None:
    root = driver.start(strict=True)
    child = driver.call(root, imaged(unapplied=BASE))
    assert driver.failure(child).code == "not_supported"
    assert driver.failure(child).message == BASE
    assert told(driver) == []


def test_work_for_which_there_is_no_place_fails_at_once_whatever_its_retries(
    driver: Driver,
) -> None:
    driver.hold_workers = True
    root = driver.start(msgspec.structs.replace(spec(retries=3), image=ImageRef(b"recipe")))
    end = WorkerEnd(failures.unplaced(EnvironmentBuildError("no x")), guilty=True, final=True)
    driver.machine.worker_gone(driver.spawned.pop().number, end)
    driver.settle()
    assert driver.failure(root).code == "environment_build"
    assert driver.failure(root).message == "no x"


def test_a_hint_of_its_own_goes_with_the_error(driver: Driver) -> None:
    failure = failures.unplaced(EnvironmentUnavailableError("no index", hint="plug it in"))
    assert (failure.message, failure.hint) == ("no index", "plug it in")
    assert failure.retryable


def test_runs_that_wait_for_a_place_are_told_what_it_waits_for(driver: Driver) -> None:
    driver.hold_workers = True
    driver.start(imaged("waits", b"recipe"))
    driver.start(imaged("does not", b"another"), name="another")
    driver.machine.delayed([driver.spawned[0].number], "building")
    driver.settle()
    events = [row for row in driver.rows if isinstance(row, EventRow) and row.kind != "image"]
    assert [(row.run, row.kind, row.text) for row in events] == [(1, "environment", "building")]
