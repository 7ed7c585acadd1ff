"""Timers without a clock."""

import gc
import weakref

from core.driver import Driver, Timeout, spec
from perdure._core.timers import COMPACT_BEYOND, Timers


class Payload:
    pass


def test_timers_fire_in_order_of_time_then_of_creation() -> None:
    timers, fired = Timers(), []
    for due, name in ((2.0, "b"), (1.0, "a"), (2.0, "c"), (3.0, "d")):
        timers.at(due, fired.append, name)
    timers.fire(2.0)
    assert fired == ["a", "b", "c"]
    assert timers.next_due() == 3.0


def test_a_timer_set_by_a_timer_fires_in_the_same_turn_when_it_is_due() -> None:
    timers, fired = Timers(), []
    timers.at(1.0, lambda: timers.at(1.5, fired.append, "later"))
    timers.fire(2.0)
    assert fired == ["later"]


def test_a_cancelled_timer_does_not_fire_and_is_not_waited_for() -> None:
    timers, fired = Timers(), []
    cancelled = timers.at(1.0, fired.append, "never")
    timers.at(2.0, fired.append, "always")
    timers.cancel([cancelled])
    assert timers.next_due() == 2.0
    timers.fire(2.0)
    timers.cancel([cancelled])
    assert fired == ["always"]
    assert timers.next_due() is None


def test_a_cancelled_timer_keeps_nothing_alive() -> None:
    timers, payload = Timers(), Payload()
    seen = weakref.ref(payload)
    timers.cancel([timers.at(1e9, print, payload)])
    del payload
    gc.collect()
    assert seen() is None


def test_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers()
    timers.at(1e9, print)
    for _ in range(10_000):
        timers.cancel([timers.at(1e9, print)])
    assert len(timers) <= 2 * COMPACT_BEYOND


def test_time_limits_of_finished_work_are_forgotten() -> None:
    driver = Driver(cpu=4)
    root = driver.start()
    limits = Timeout(max_runtime=3600.0, max_queued_time=3600.0, deadline=3600.0)
    for k in range(100):
        driver.end(driver.call(root, spec(timeout=limits), k=k))
    assert len(driver.machine.timers) <= 2 * COMPACT_BEYOND
