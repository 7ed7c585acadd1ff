"""What a controller tells of itself at a glance, and that it costs little however much goes on."""

import msgspec
import pytest

from core.driver import Driver, error, policy, spec
from perdure._core import overview as overviews
from perdure._core.model import Reuse
from perdure._core.overview import Overview, overview
from perdure._core.sharing import QueueLimits

ASYNC = spec("root", is_async=True)


def look(driver: Driver) -> Overview:
    workers = driver.machine.scheduler.staff.workers
    return overview(
        driver.machine, {number: 5000 + number for number, w in workers.items() if w.ready}
    )


def test_nothing_goes_on_in_a_new_controller() -> None:
    found = look(Driver(cpu=4, memory=100))
    assert (found.total, found.free) == ({"cpu": 4.0, "memory": 100.0},) * 2
    assert (found.pools, found.runs, found.running, found.waiting) == ((), (), (), {})


def test_runs_running_attempts_and_workers_are_told() -> None:
    driver = Driver(cpu=2)
    root = driver.start(ASYNC, "nightly")
    calls = [driver.call(root, spec("leaf", memory=10), k=k) for k in range(5)]
    driver.after(3.0)
    found = look(driver)
    (run,) = found.runs
    assert (run.name, run.task, run.running, run.actions) == ("nightly", "root", 3, 6)
    assert [each.action.id for each in found.running] == [call.id.hex() for call in calls[:2]]
    first = found.running[0]
    assert (first.since, first.pid, first.asked) == (
        100.0, 5000 + driver.worker(calls[0]).number, {"cpu": 1.0, "memory": 10.0},
    )  # fmt: skip
    pools = [(each.is_async, each.busy, each.hosting, each.queued) for each in found.pools]
    assert pools == [(False, 2, 0, 3), (True, 0, 1, 0)]
    assert (found.free["cpu"], found.free["memory"]) == (0.0, 980.0)


def test_who_waits_is_counted_by_what_for() -> None:
    driver = Driver(cpu=1)
    root = driver.start(ASYNC)
    running, *_ = (driver.call(root, "leaf", k=k) for k in range(3))
    driver.call(root, "user", needs=(running.id,))
    driver.sleep(root, 60.0)
    assert look(driver).waiting == {"no_room": 2, "children": 1, "inputs": 1, "asleep": 1}


def test_who_backs_off_is_counted_too() -> None:
    driver = Driver()
    driver.fail(driver.start(spec("flaky", retries=1, base=30.0)), error())
    assert look(driver).waiting == {"backing_off": 1}


def test_what_is_not_looked_at_is_counted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overviews, "LOOKED_AT", 3)
    monkeypatch.setattr(overviews, "ROWS", 2)
    driver = Driver(cpu=8)
    root = driver.start(ASYNC)
    serial = spec("serial", cache=policy(serialize=True))
    for k in range(10):
        driver.call(root, serial, k=k)
    for k in range(5):
        driver.call(root, "leaf", k=k)
    for k in range(4):
        driver.start(spec("small", cpu=0.1), f"run{k}")
    found = look(driver)
    assert (len(found.runs), found.run_count) == (2, 5)
    assert (len(found.running), found.running_count) == (2, 10)
    assert sum(found.waiting.values()) == 10
    assert found.waiting["other"] > 0


def test_workers_on_their_way_are_told_with_what_keeps_them() -> None:
    driver = Driver()
    driver.hold_workers = True
    driver.start(spec("root", reuse=Reuse("llm", 1, 0, 3)))
    workers = list(driver.machine.scheduler.staff.workers)
    driver.machine.delayed(workers, "building environment 1a2b")
    (pool,) = look(driver).pools
    assert (pool.environment, pool.starting, pool.most) == ("llm", 1, 3)
    assert pool.delay == "building environment 1a2b"


def test_it_can_be_sent_and_read() -> None:
    driver = Driver(cpu=1)
    root = driver.start(ASYNC)
    for k in range(3):
        driver.call(root, "leaf", k=k)
    found = look(driver)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Overview) == found


def test_queues_are_told_and_who_waits_for_them_is_counted() -> None:
    driver = Driver(cpu=8)
    driver.journal.queues.declare([QueueLimits("q", concurrency=2)], 0.0)
    root = driver.start(ASYNC)
    for k in range(5):
        driver.call(root, spec("job", queue="q"), k=k)
    driver.start(ASYNC, "second", queue="q")
    found = look(driver)
    (queue,) = found.queues
    assert (queue.name, queue.used, queue.concurrency, queue.waiting) == ("q", 2, 2, 4)
    assert found.waiting == {"no_slot": 4, "children": 1}
