"""P9: controller memory is proportional to work in flight, not to work done."""

import gc

import pytest

from core.driver import Driver, Timeout, spec
from core.watched import Watch
from perdure._core.lifecycle import RECENT
from perdure._core.state import Action, Attempt
from perdure._core.timers import Timer

IN_FLIGHT = 50
ACTIONS = 50_000
LIMITS = Timeout(max_runtime=3600.0, max_queued_time=3600.0, deadline=3600.0)


class Forgetful(Driver):
    """A driver that keeps nothing either: its journal is a hole."""

    def _commit(self) -> bool:
        finished, self._finished = self._finished, []
        self._rows.clear()
        self.orders.clear()
        self.machine.committed(finished)
        return bool(finished)

    def settle(self) -> None:
        machine, effects = self.machine, self.machine.effects
        while True:
            machine.place()
            effects.told.clear()
            for worker in machine.scheduler.staff.workers.values():
                worker.outbox.clear()
            self.spawned += effects.spawns
            effects.spawns.clear()
            self._rows, effects.rows = effects.rows, []
            self._finished, effects.finished = effects.finished, []
            if not self._ready() and not self._commit():
                return


def timers() -> int:
    gc.collect()
    return sum(type(each) is Timer for each in gc.get_objects())


def test_p9_50_000_actions_leave_as_much_in_memory_as_is_in_flight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch, before = Watch(monkeypatch), timers()
    driver = Forgetful(cpu=4)
    root = driver.start()
    task = spec("task", cpu=0.1, timeout=LIMITS)
    window = []
    for k in range(ACTIONS):
        id_ = k.to_bytes(16, "big")
        driver.machine.call(root.attempt.handle, task, id_, b"inputs")
        window.append(root.run.actions[id_])
        if len(window) == IN_FLIGHT:
            driver.settle()
            for action in [each for each in window if each.attempt is not None][:25]:
                window.remove(action)
                driver.end(action, seconds=0.0001)
    del action
    assert watch.alive(Action) == len(root.run.actions) == len(window) + 1
    assert watch.alive(Attempt) == len(driver.machine.scheduler.attempts)
    assert timers() - before <= 2 * 3 * IN_FLIGHT + 128
    assert len(root.run.recent) <= RECENT
    assert len(root.run.dirty) + len(root.run.backlog) <= len(window) + 1
    assert sum(lane.count for lane in driver.machine.scheduler.lanes.all.values()) <= IN_FLIGHT


def test_p9_a_run_that_has_ended_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    driver = Driver(cpu=4)
    root = driver.start()
    for k in range(20):
        driver.call(root, spec("task", timeout=LIMITS), k=k)
    driver.end(root)
    for number in list(driver.machine.scheduler.staff.workers):
        driver.kill(number)
    driver.machine.runs.clear()
    driver.orders.clear()
    driver.after(1.0)
    del root
    gc.collect()
    assert watch.made > 20
    assert (watch.alive(Action), watch.alive(Attempt)) == (0, 0)
