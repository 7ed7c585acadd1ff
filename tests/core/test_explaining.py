"""P7: whatever has no outcome can say what it waits for, and who holds it up."""

from typing import TypeVar

import pytest

from core.driver import Driver, Stage, error, policy, spec
from perdure._core import explaining, impediments
from perdure._core.explaining import explain
from perdure._core.invariants import BrokenInvariantError, check
from perdure._core.model import Loader, Reuse
from perdure._core.reasons import (
    Asleep,
    BackingOff,
    Children,
    HeldBack,
    Inputs,
    JournalAsked,
    Link,
    MemoryScarce,
    NoneFree,
    NoRoom,
    NoWorker,
    Recorded,
    Running,
    SameKey,
    Stopping,
    Unanswered,
)
from perdure._core.state import Action
from perdure._core.transitions import Stage as Stages

Kind = TypeVar("Kind")
ASYNC = spec("root", is_async=True)


def chain(driver: Driver, action: Action) -> tuple[Link, ...]:
    workers = driver.machine.scheduler.staff.workers
    pids = {number: 5000 + number for number, worker in workers.items() if worker.ready}
    return explain(driver.machine, action, pids)


def last(driver: Driver, action: Action, kind: type[Kind]) -> Kind:
    reason = chain(driver, action)[-1].reason
    assert isinstance(reason, kind), reason
    return reason


def names(links: tuple[Link, ...]) -> list[str]:
    return [link.action.task for link in links]


# --- on a worker ----------------------------------------------------------------------------------


def test_what_runs_says_where_and_since_when() -> None:
    driver = Driver()
    root = driver.start(spec("root"))
    driver.after(5.0)
    number = driver.worker(root).number
    assert last(driver, root, Running) == Running(worker=number, pid=5000 + number, since=100.0)


def test_a_parent_that_waits_leads_to_the_child_that_has_come_furthest() -> None:
    driver = Driver(cpu=1)
    root = driver.start(ASYNC)
    first, second = (driver.call(root, "leaf", k=k) for k in range(2))
    found = chain(driver, root)
    assert names(found) == ["root", "leaf"]
    assert found[0].reason == Children(open=2, calls=2, phases={"running": 1, "queued": 1})
    assert found[1].action.id == first.id.hex()
    driver.end(first)
    driver.end(second)
    assert isinstance(chain(driver, root)[-1].reason, Running)


def test_a_sync_parent_leads_to_the_child_it_waits_for() -> None:
    driver = Driver(cpu=3)
    root = driver.start(spec("root"))
    _, second = (driver.call(root, "leaf", k=k) for k in range(2))
    assert isinstance(chain(driver, root)[-1].reason, Running)  # it goes on until it waits
    driver.block(root, on=second)
    assert chain(driver, root)[-1].action.id == second.id.hex()


def test_of_many_children_only_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "LOOKED_AT", 3)
    driver = Driver(cpu=1)
    root = driver.start(ASYNC)
    for k in range(10):
        driver.call(root, "leaf", k=k)
    assert chain(driver, root)[0].reason == Children(open=10, calls=10, phases={})


def test_an_attempt_that_is_stopped_says_why() -> None:
    driver = Driver()
    root = driver.start(spec("root"))
    driver.machine.abort(root.run, None, "aborted by request")
    driver.settle()
    assert last(driver, root, Stopping).why == "aborted by request"


def test_an_outcome_that_is_not_recorded_yet_is_being_recorded() -> None:
    driver = Driver()
    root = driver.start(spec("root"))
    driver.hold_commits = True
    driver.end(root)
    last(driver, root, Recorded)


def test_a_quick_attempt_that_waits_behind_others_of_its_worker_says_so() -> None:
    driver = Driver(cpu=1)
    root = driver.start(ASYNC)
    for k in range(30):
        driver.end(driver.call(root, "tiny", k=1000 + k), seconds=0.0001)
    tinies = [driver.call(root, "tiny", k=k) for k in range(3)]
    assert [last(driver, each, Running).behind for each in tinies] == [0, 1, 2]


# --- resources ------------------------------------------------------------------------------------


def test_what_lacks_resources_says_what_is_free_and_who_has_the_rest() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root", cpu=0.5))
    small = driver.call(root, spec("small", cpu=1.0))
    large = driver.call(root, spec("large", cpu=2.0))
    waiting = driver.call(root, spec("waiting", cpu=1.0, memory=10))
    driver.after(3.0)
    reason = last(driver, waiting, NoRoom)
    assert reason.asked == {"cpu": 1.0, "memory": 10.0}
    assert (reason.short, reason.free["cpu"], reason.total["cpu"]) == (("cpu",), 0.5, 4.0)
    held = [(each.action.task, each.amounts["cpu"]) for each in reason.holders if each.action]
    assert held == [("large", 2.0), ("small", 1.0), ("root", 0.5)]
    assert {small.stage, large.stage} == {Stage.RUNNING}
    driver.end(large)
    assert isinstance(last(driver, waiting, Running), Running)


def test_memory_that_a_waiting_parent_keeps_is_said_to_be_kept_by_it() -> None:
    driver = Driver(cpu=4, memory=100)
    other = driver.start(spec("root", memory=60), "a")
    driver.call(other, "leaf")
    driver.block(other)
    waiting = driver.start(spec("big", memory=80), "b")
    reason = last(driver, waiting, NoRoom)
    assert reason.short == ("memory",)
    (held,) = reason.holders
    assert held.action is not None
    assert (held.action.run, held.amounts, held.waits) == ("a", {"memory": 60.0}, True)


def test_what_is_free_may_be_set_aside_for_older_work_which_is_named() -> None:
    driver = Driver(cpu=2)
    root = driver.start(spec("root"))
    driver.block(root)
    driver.call(root, "running")
    large = driver.call(root, spec("large", cpu=2.0))
    small = driver.call(root, spec("small", cpu=1.0))
    assert last(driver, large, NoRoom).short == ("cpu",)
    reason = last(driver, small, NoRoom)
    assert (reason.short, reason.kept) in (((), ("cpu",)), (("cpu",), ()))
    assert reason.first is not None
    assert (reason.first.task, reason.first_asked) == ("large", {"cpu": 2.0})


def test_devices_and_custom_resources_are_told_like_all_others() -> None:
    driver = Driver(cpu=8, gpus=("T4", "T4"), custom=(("licence", 1.0),))
    root = driver.start(spec("root"))
    driver.call(root, spec("trains", gpu=2, custom=(("licence", 1.0),)))
    lacks_gpu = driver.call(root, spec("waits", gpu=1))
    reason = last(driver, lacks_gpu, NoRoom)
    assert (reason.short, reason.free, reason.total) == (
        ("gpu",), {"cpu": 6.0, "gpu": 0.0}, {"cpu": 8.0, "gpu": 2.0},
    )  # fmt: skip
    assert [each.action.task for each in reason.holders if each.action] == ["trains"]
    lacks_licence = driver.call(root, spec("waits too", custom=(("licence", 1.0),)))
    assert last(driver, lacks_licence, NoRoom).short == ("licence",)


def test_a_parent_that_waits_for_its_cores_says_who_has_them() -> None:
    driver = Driver(cpu=1)
    root = driver.start(ASYNC)
    leaf = driver.call(root, "leaf")
    other = driver.start(spec("other"), "other")
    driver.end(leaf)
    assert other.stage is Stage.RUNNING
    reason = last(driver, root, NoRoom)
    assert (reason.resumes, reason.asked) == (True, {"cpu": 1.0})
    assert [each.action.task for each in reason.holders if each.action] == ["other"]


# --- places in line -------------------------------------------------------------------------------


def test_the_place_in_line_counts_those_of_the_same_run_that_go_first() -> None:
    driver = Driver(cpu=1)
    root = driver.start(ASYNC)
    calls = [driver.call(root, "leaf", k=k) for k in range(5)]
    lines = [chain(driver, each)[-1].line for each in calls]
    assert lines[0] is None
    assert [line.ahead for line in lines[1:] if line] == [0, 1, 2, 3]


def test_who_has_left_the_line_is_not_counted() -> None:
    driver = Driver(cpu=1)
    root = driver.start(ASYNC)
    calls = [driver.call(root, "leaf", k=k) for k in range(5)]
    assert root.attempt is not None
    driver.machine.cancel_call(root.attempt.handle, calls[2].id)
    driver.settle()
    line = chain(driver, calls[4])[-1].line
    assert line is not None
    assert line.ahead == 2


def test_what_is_below_older_parents_goes_first_and_other_runs_are_counted() -> None:
    driver = Driver(cpu=1)
    root = driver.start(spec("root"))
    driver.block(root)
    parents = [driver.call(root, "parent", k=k) for k in range(2)]
    driver.block(parents[0])
    running = driver.call(parents[0], "leaf", k=0)
    ahead = driver.call(parents[0], "leaf", k=1)
    others = [driver.start(spec("leaf"), name) for name in ("a", "b")]
    assert running.stage is Stage.RUNNING or parents[1].stage is Stage.RUNNING
    last_one = next(each for each in (ahead, parents[1]) if each.stage is Stage.QUEUED)
    line = chain(driver, last_one)[-1].line
    assert line is not None
    assert line.others == sum(each.stage is Stage.QUEUED for each in others)


def test_a_long_line_is_counted_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impediments, "LOOKED_AT", 4)
    driver = Driver(cpu=1)
    root = driver.start(ASYNC)
    calls = [driver.call(root, "leaf", k=k) for k in range(10)]
    line = chain(driver, calls[9])[-1].line
    assert line is not None
    assert (line.ahead, line.counted) == (4, False)


# --- workers --------------------------------------------------------------------------------------


def test_what_waits_for_a_worker_to_start_says_so_and_what_keeps_it() -> None:
    driver = Driver()
    driver.hold_workers = True
    root = driver.start(spec("root"))
    driver.after(2.0)
    assert last(driver, root, NoWorker) == NoWorker(environment="", starting=1, since=100.0)
    numbers = list(driver.machine.scheduler.staff.workers)
    driver.machine.delayed(numbers, "building environment 1a2b")
    assert last(driver, root, NoWorker).delay == "building environment 1a2b"
    driver.come_up()
    assert driver.worker(root).pool.delay == ""


def test_a_start_up_hook_is_said_to_run_once_the_worker_is_there() -> None:
    driver = Driver()
    driver.hold_workers = True
    reuse = Reuse("llm", startup=Loader("module", "m", "load"))
    root = driver.start(spec("root", reuse=reuse))
    assert last(driver, root, NoWorker).hooks == 0
    (number,) = driver.machine.scheduler.staff.workers
    reason = explain(driver.machine, root, {number: 77})[-1].reason
    assert isinstance(reason, NoWorker)
    assert (reason.environment, reason.hooks) == ("llm", 1)


def test_workers_that_died_while_they_started_are_counted() -> None:
    driver = Driver()
    driver.hold_workers = True
    root = driver.start(spec("root"))
    (number,) = driver.machine.scheduler.staff.workers
    driver.kill(number, guilty=True)
    assert last(driver, root, NoWorker).died == 1


def test_what_waits_for_a_worker_of_a_full_pool_says_what_they_do() -> None:
    driver = Driver(cpu=8)
    root = driver.start(ASYNC)
    only = Reuse("gate", 1, 0, 1)
    first, second = (driver.call(root, spec("turn", reuse=only), k=k) for k in range(2))
    reason = last(driver, second, NoneFree)
    assert (reason.environment, reason.workers, reason.most) == ("gate", 1, 1)
    assert [each.action.id for each in reason.holders if each.action] == [first.id.hex()]


def test_after_the_machine_ran_short_of_memory_what_is_held_back_says_so() -> None:
    driver = Driver(cpu=4)
    root = driver.start(spec("root", cpu=0.5))
    calls = [driver.call(root, "leaf", k=k) for k in range(3)]
    gib = 1 << 30
    driver.after(1.0)
    driver.low(gib // 4, gib, dict.fromkeys(calls, gib))
    for number in list(driver.killed):
        driver.kill(number)
    held = next(each for each in calls if each.stage is Stage.QUEUED)
    assert last(driver, held, MemoryScarce).most >= 1


# --- not ready ------------------------------------------------------------------------------------


def test_what_waits_for_inputs_leads_to_what_makes_them() -> None:
    driver = Driver(cpu=1)
    root = driver.start(ASYNC)
    made = driver.call(root, "make")
    user = driver.call(root, "use", needs=(made.id,))
    links = chain(driver, user)
    assert names(links) == ["use", "make"]
    assert links[0].reason == Inputs(open=1, inputs=1)


def test_a_sleep_and_a_backoff_say_when_they_end() -> None:
    driver = Driver()
    root = driver.start(ASYNC)
    nap = driver.sleep(root, 60.0)
    assert last(driver, nap, Asleep).until == 160.0
    flaky = driver.call(root, spec("flaky", retries=1, base=30.0))
    driver.after(5.0)
    driver.fail(flaky, error())
    link = chain(driver, flaky)[-1]
    assert (link.reason, link.attempt) == (BackingOff(until=135.0), 1)


def test_a_condition_waits_for_somebody() -> None:
    driver = Driver()
    root = driver.start(ASYNC)
    assert last(driver, driver.ask(root, "approve"), Unanswered).until is None
    assert last(driver, driver.ask(root, "soon", timeout=60.0), Unanswered).until == 160.0
    assert isinstance(chain(driver, root)[-1].reason, Unanswered)


def test_identical_calls_lead_to_the_one_that_runs_also_in_another_run() -> None:
    driver = Driver(cpu=4)
    serial = spec("serial", cache=policy(serialize=True))
    first = driver.call(driver.start(ASYNC, "a"), serial)
    second = driver.call(driver.start(ASYNC, "b"), serial)
    links = chain(driver, second)
    assert isinstance(links[0].reason, SameKey)
    assert [link.action.run for link in links] == ["b", "a"]
    assert links[1].action.id == first.id.hex()


def test_an_identical_call_of_another_process_is_said_to_be_one() -> None:
    driver = Driver()
    serial = spec("serial", cache=policy(serialize=True))
    driver.call(driver.start(ASYNC, "a"), serial)
    another = Driver(journal=driver.journal)
    waits = another.call(another.start(ASYNC, "b"), serial)
    assert last(another, waits, SameKey).holder is None


def test_what_the_journal_is_asked_for_says_so() -> None:
    driver = Driver()
    root = driver.start(ASYNC)
    driver.hold_consults = True
    cached = driver.call(root, spec("cached", cache=policy()))
    last(driver, cached, JournalAsked)
    driver.flush()
    again = driver.restarted()
    again.hold_answers = True
    last(again, again.start(ASYNC), JournalAsked)


def test_a_child_that_its_parent_had_cancelled_is_held_back_after_a_crash() -> None:
    driver = Driver()
    root = driver.start(ASYNC)
    child = driver.call(root, "leaf")
    assert root.attempt is not None
    driver.machine.cancel_call(root.attempt.handle, child.id)
    driver.settle()
    driver.end(child)
    driver.flush()
    again = driver.restarted()
    held = again.call(again.start(ASYNC), "leaf")
    last(again, held, HeldBack)


def test_a_chain_goes_down_to_the_end_however_deep_it_is() -> None:
    driver = Driver(cpu=8)
    root = driver.start(ASYNC)
    here = root
    for depth in range(20):
        here = driver.call(here, spec(f"level{depth}", is_async=True))
    assert len(chain(driver, root)) == 21


# --- the invariant --------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [stage for stage in Stages if stage is not Stages.COMMITTED])
def test_every_stage_without_an_outcome_is_known(stage: Stages) -> None:
    assert stage in explaining._FURTHEST


def test_a_ready_action_that_nobody_will_ever_place_breaks_an_invariant() -> None:
    driver = Driver()
    driver.hold_workers = True
    root = driver.start(spec("root"))
    pool = root.task.lane.pool if root.task else None
    assert pool is not None
    for worker in list(pool.workers.values()):
        driver.machine.scheduler.staff.remove(worker)  # and nobody asks for another
    with pytest.raises(BrokenInvariantError, match="waits for nothing that is known"):
        check(driver.machine)
