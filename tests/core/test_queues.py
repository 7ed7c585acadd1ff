"""Queues: slots, starts and admission, of one controller and of two that share a journal."""

from collections.abc import Sequence

import pytest

from core.driver import Driver, Stage, spec
from perdure._core.lines import waiting_in_queue
from perdure._core.model import Phase, TaskSpec
from perdure._core.queues import KEEP_SECONDS, NEWS_SECONDS
from perdure._core.sharing import QueueLimits
from perdure._core.state import Action
from perdure._core.turns import PERIOD
from perdure._journal.memory import MemoryJournal

ROOT = spec("root", is_async=True, cpu=0)
IN_Q = spec("job", queue="q")


def journal_with(**limits: object) -> MemoryJournal:
    journal = MemoryJournal()
    journal.queues.declare([QueueLimits("q", **limits)], 0.0)  # type: ignore[arg-type]
    return journal


def driver_with(cpu: float = 8, owner: str = "me", **limits: object) -> Driver:
    return Driver(cpu, journal_with(**limits), owner=owner)


def calls(driver: Driver, root: Action, count: int, task: TaskSpec = IN_Q) -> list[Action]:
    return [driver.call(root, task, k) for k in range(count)]


def running(actions: Sequence[Action]) -> list[int]:
    return [place for place, action in enumerate(actions) if action.stage is Stage.RUNNING]


# --- slots ----------------------------------------------------------------------------------------


def test_no_more_run_at_once_than_the_queue_allows_and_older_ones_first() -> None:
    driver = driver_with(concurrency=2)
    jobs = calls(driver, driver.start(ROOT), 4)
    assert running(jobs) == [0, 1]
    driver.end(jobs[1])
    assert running(jobs) == [0, 2]
    driver.end(jobs[0])
    assert running(jobs) == [2, 3]


def test_work_of_no_queue_does_not_wait_behind_a_full_one() -> None:
    driver = driver_with(concurrency=1)
    root = driver.start(ROOT)
    calls(driver, root, 3)
    other = driver.call(root, spec("other"))
    assert other.stage is Stage.RUNNING


def test_one_that_is_cancelled_frees_its_slot_and_one_that_waits_leaves_the_queue() -> None:
    driver = driver_with(concurrency=1)
    root = driver.start(ROOT)
    jobs = calls(driver, root, 3)
    driver.abort(jobs[1])
    driver.kill(jobs[0])  # it is taken up again, before those that wait
    assert running(jobs) == [0]
    driver.end(jobs[0])
    assert running(jobs) == [2]


@pytest.mark.parametrize("is_async", [False, True])
def test_parents_and_children_share_a_queue_of_one(is_async: bool) -> None:
    driver = driver_with(concurrency=1)
    task = spec("parent", is_async=is_async, queue="q")
    parents = calls(driver, driver.start(ROOT), 3, task)
    children: dict[bytes, Action] = {}
    while any(driver.outcome(parent) is None for parent in parents):
        (action,) = [a.action for a in driver.machine.scheduler.attempts.values() if a.slot]
        if action not in parents or action.id in children:
            driver.end(action)
            continue
        child = children[action.id] = driver.call(action, IN_Q)
        if not is_async:
            driver.block(action, on=child)
    assert len(children) == 3


def test_a_parent_goes_on_before_others_start() -> None:
    driver = driver_with(concurrency=1)
    root = driver.start(ROOT)
    parent = driver.call(root, spec("parent", is_async=True, queue="q"))
    child = driver.call(parent, spec("child"))
    jobs = calls(driver, root, 2)
    assert running(jobs) == [0]
    driver.end(child)
    assert driver.delivered(child.id) == []
    driver.end(jobs[0])
    assert len(driver.delivered(child.id)) == 1
    assert running(jobs[1:]) == []
    driver.end(parent)
    assert running(jobs[1:]) == [0]


def test_a_retry_waits_for_a_slot_like_any_attempt() -> None:
    driver = driver_with(concurrency=1)
    root = driver.start(ROOT)
    first = driver.call(root, spec("flaky", queue="q", retries=1, base=5.0))
    second = driver.call(root, IN_Q)
    driver.fail(first)
    assert second.stage is Stage.RUNNING
    driver.after(5.0)
    assert first.stage is Stage.QUEUED
    driver.end(second)
    assert first.stage is Stage.RUNNING


def test_values_that_are_kept_take_neither_slot_nor_start() -> None:
    from core.driver import policy

    driver = driver_with(concurrency=1, starts=2, period=1000.0)
    cached = spec("cached", queue="q", cache=policy())
    root = driver.start(ROOT)
    driver.end(driver.call(root, cached))
    driver.end(driver.call(root, IN_Q))
    assert driver.outcome(driver.call(root, cached, 1)) is not None
    assert driver.call(root, IN_Q, 1).stage is Stage.QUEUED


def test_a_queue_that_nobody_has_declared_fails_the_call_with_the_way_to_declare_it() -> None:
    driver = Driver(8)
    job = driver.call(driver.start(ROOT), IN_Q)
    failure = driver.failure(job)
    assert failure.code == "queue_not_found"
    assert "perdure queue set q" in failure.message
    driver.after(1.0)
    assert not driver.machine.scheduler.queues.active


# --- starts ---------------------------------------------------------------------------------------


def test_no_more_start_in_any_period_than_the_rate_allows() -> None:
    driver = driver_with(starts=3, period=10.0)
    jobs = calls(driver, driver.start(ROOT), 8)
    started = []
    for _ in range(400):
        for job in [jobs[place] for place in running(jobs)]:
            started.append(driver.now)
            driver.end(job)
        driver.after(0.1)
    assert len(started) == 8
    for moment in started:
        assert sum(moment <= other < moment + 10.0 for other in started) <= 3
    assert started[-1] - started[0] == pytest.approx(20.0, abs=0.5)


@pytest.mark.parametrize("whole", [False, True])
def test_a_period_begins_when_code_begins_however_long_it_took_to_get_there(whole: bool) -> None:
    driver = driver_with(starts=2, period=10.0)
    if whole:
        jobs = [driver.start(ROOT, f"run {k}", queue="q") for k in range(5)]
    else:
        jobs = calls(driver, driver.start(ROOT), 5)
    driver.after(30.0)
    assert running(jobs) == [0, 1]
    driver.begin(jobs[0])
    driver.after(4.0)
    driver.begin(jobs[1])
    driver.begin(jobs[1])  # whoever says so twice has not begun twice
    driver.after(5.0)
    assert running(jobs) == [0, 1]
    driver.after(1.3)
    assert running(jobs) == [0, 1, 2]
    driver.after(4.0)
    assert running(jobs) == [0, 1, 2, 3]


def test_one_that_died_may_have_begun_until_then() -> None:
    driver = driver_with(starts=1, period=10.0)
    job, other = calls(driver, driver.start(ROOT), 2)
    driver.after(30.0)
    driver.kill(job)
    driver.after(9.0)
    assert running([job, other]) == []
    driver.after(1.3)
    assert running([job, other]) == [0]


def test_what_has_begun_and_was_not_told_of_counts_for_those_that_come_after() -> None:
    journal = journal_with(starts=2, period=10.0)
    driver = Driver(8, journal, owner="first")
    jobs = calls(driver, driver.start(ROOT), 2)
    driver.begin(jobs[0])
    (queue,) = driver.machine.scheduler.queues
    assert queue.last_words(driver.now).starts == ((driver.now, 1), (driver.now, 1))


def test_an_attempt_that_was_given_back_unstarted_was_no_start() -> None:
    driver = driver_with(cpu=2, starts=2, period=1000.0)
    root = driver.start(ROOT)
    first = driver.call(root, IN_Q)
    worker, attempt = driver.worker(first), first.attempt
    assert attempt is not None
    driver.machine.returned(worker.number, [attempt.handle])
    driver.settle()
    driver.end(first)
    assert driver.call(root, IN_Q, 1).stage is Stage.RUNNING
    assert driver.call(root, IN_Q, 2).stage is Stage.QUEUED


# --- runs -----------------------------------------------------------------------------------------


def test_as_many_runs_are_under_way_as_their_queue_allows() -> None:
    driver = driver_with(concurrency=2)
    roots = [driver.start(ROOT, f"run {n}", queue="q") for n in range(4)]
    assert running(roots) == [0, 1]
    driver.call(roots[0], spec("child"))  # it waits, and is under way all the same
    assert running(roots) == [0, 1]
    driver.end(roots[1])
    assert running(roots) == [0, 2]


def test_people_see_a_run_that_waits_as_queued_until_it_is_admitted() -> None:
    driver = driver_with(concurrency=1)
    first = driver.start(ROOT, "first", queue="q")
    second = driver.start(ROOT, "second", queue="q")
    key = second.run.key
    assert [end.phase for end in driver.run_ends() if end.run == key] == []
    driver.end(first)
    assert [end.phase for end in driver.run_ends() if end.run == key] == [Phase.RUNNING]


def test_a_run_lends_its_slot_to_one_of_its_own_tasks_at_a_time() -> None:
    driver = driver_with(concurrency=1)
    root = driver.start(ROOT, queue="q")
    jobs = calls(driver, root, 3)
    assert running(jobs) == [0]
    driver.end(jobs[0])
    assert running(jobs) == [1]
    driver.end(jobs[1])
    driver.end(jobs[2])
    driver.end(root)
    assert driver.ended


def test_a_run_that_is_stopped_while_it_waits_leaves_the_queue() -> None:
    driver = driver_with(concurrency=1)
    roots = [driver.start(ROOT, f"run {n}", queue="q") for n in range(3)]
    driver.abort(roots[1])
    driver.end(roots[0])
    assert running(roots) == [2]


def test_the_slot_of_a_run_that_ends_stays_with_the_task_that_has_borrowed_it() -> None:
    driver = driver_with(concurrency=1)
    root = driver.start(ROOT, "first", queue="q")
    (job,) = calls(driver, root, 1)
    second = driver.start(ROOT, "second", queue="q")
    driver.end(root)  # what it has called is being stopped
    assert second.stage is Stage.QUEUED
    assert job.attempt is not None
    driver.kill(job)
    assert second.stage is Stage.RUNNING


def test_a_run_that_is_no_longer_driven_here_has_no_slot() -> None:
    driver = driver_with(concurrency=1)
    first = driver.start(ROOT, "first", queue="q")
    second = driver.start(ROOT, "second", queue="q")
    waiting = driver.start(ROOT, "third", queue="q")
    driver.machine.drop_run(first.run.key)
    driver.machine.drop_run(waiting.run.key)
    driver.settle()
    assert second.stage is Stage.RUNNING


# --- priority and turns ---------------------------------------------------------------------------


def test_a_higher_priority_goes_first_in_a_queue_and_between_runs() -> None:
    driver = driver_with(cpu=1, concurrency=1)
    low, high = driver.start(ROOT, "low"), driver.start(ROOT, "high", priority=1)
    busy = driver.call(low, IN_Q)
    later = driver.call(low, IN_Q, 1), driver.call(high, IN_Q)
    driver.end(busy)
    assert running(later) == [1]


def test_of_runs_that_have_nothing_yet_the_first_of_the_highest_priority_starts() -> None:
    driver, task = Driver(cpu=1), spec("job")
    busy = driver.start(task, "busy")
    waiting = [driver.start(task, f"run {n}", priority=p) for n, p in enumerate((0, 5, 9, 9))]
    driver.end(busy)
    assert running(waiting) == [2]


def test_runs_are_admitted_by_priority_then_in_their_order() -> None:
    driver = driver_with(concurrency=1)
    first = driver.start(ROOT, "first", queue="q")
    roots = [
        driver.start(ROOT, f"p {p} {n}", queue="q", priority=p) for n in (1, 2) for p in (0, 5)
    ]
    order = []
    while roots:
        driver.end(first)
        (first,) = [root for root in roots if root.stage is Stage.RUNNING]
        roots.remove(first)
        order.append(first.run.name)
    assert order == ["p 5 1", "p 5 2", "p 0 1", "p 0 2"]


@pytest.mark.parametrize("queue", ["", "q"])
def test_low_priority_has_every_eighth_turn_however_much_else_keeps_coming(queue: str) -> None:
    driver = driver_with(cpu=1, concurrency=1)
    task = spec("job", queue=queue)
    low, high = driver.start(ROOT, "low"), driver.start(ROOT, "high", priority=9)
    work = [driver.call(high, task, k) for k in range(3)]
    patient = [driver.call(low, task, k) for k in range(3)]
    turns = 0
    for k in range(3, 200):
        (job,) = [a for a in work + patient if a.stage is Stage.RUNNING]
        turns += 1
        driver.end(job)
        if job in patient:
            patient.remove(job)
            if not patient:
                break
        else:
            work.remove(job)
            work.append(driver.call(high, task, k))
    assert not patient
    assert turns <= 3 * 2 * PERIOD


def test_a_run_is_not_starved_by_older_work_of_another_demand() -> None:
    driver = Driver(2)
    old, young = driver.start(ROOT, "old"), driver.start(ROOT, "young")
    work = [driver.call(old, spec("small"), k) for k in range(3)]
    large = driver.call(young, spec("large", cpu=2))
    for k in range(3, 6 * PERIOD):
        job = next(a for a in work if a.stage is Stage.RUNNING)
        work.remove(job)
        driver.end(job)
        if large.stage is Stage.RUNNING:
            return
        work.append(driver.call(old, spec("small"), k))
    raise AssertionError("it never had its turn")


# --- two controllers ------------------------------------------------------------------------------


def two(**limits: object) -> tuple[Driver, Driver]:
    journal = journal_with(**limits)
    return Driver(8, journal, owner="a"), Driver(8, journal, owner="b")


def together(drivers: Sequence[Driver], seconds: float) -> None:
    for driver in drivers:
        driver.after(seconds)


def test_two_controllers_never_use_more_than_the_queue_has_and_both_get_their_part() -> None:
    drivers = two(concurrency=3)
    work = [calls(d, d.start(ROOT, f"run of {d.owner}"), 12) for d in drivers]
    done = [0, 0]
    for _ in range(300):
        counts = [len(running(jobs)) for jobs in work]
        assert sum(counts) <= 3
        for place, (driver, jobs) in enumerate(zip(drivers, work, strict=True)):
            for job in [jobs[at] for at in running(jobs)][:1]:
                driver.end(job)
                done[place] += 1
                assert sum(len(running(each)) for each in work) <= 3
        if done == [12, 12]:
            return
        if sum(done) == 12:
            assert min(done) >= 3
        together(drivers, NEWS_SECONDS / 2)
    raise AssertionError(f"{done} were done")


def test_one_slot_goes_round_between_controllers_that_are_always_busy() -> None:
    drivers = two(concurrency=1)
    roots = [d.start(ROOT, f"run of {d.owner}") for d in drivers]
    work = [calls(d, root, 2) for d, root in zip(drivers, roots, strict=True)]
    turns = []
    for k in range(2, 80):
        for place, driver in enumerate(drivers):
            for job in [work[place][at] for at in running(work[place])]:
                turns.append(place)
                driver.end(job)
                work[place].append(driver.call(roots[place], IN_Q, 10 * k))
        together(drivers, NEWS_SECONDS)
    assert turns.count(0) > 10
    assert turns.count(1) > 10


def test_what_a_dead_controller_held_comes_back_when_its_death_is_seen() -> None:
    dead, alive = two(concurrency=1)
    calls(dead, dead.start(ROOT, "dead"), 1)
    jobs = calls(alive, alive.start(ROOT, "alive"), 1)
    alive.after(1.0)
    assert running(jobs) == []
    alive.dead.add("a")
    alive.after(0.1)
    assert running(jobs) == [0]


def test_two_controllers_start_no_more_in_any_period_than_the_rate_allows() -> None:
    drivers = two(starts=4, period=5.0)
    work = [calls(d, d.start(ROOT, f"run of {d.owner}"), 10) for d in drivers]
    started: list[float] = []
    for _ in range(1000):
        for driver, jobs in zip(drivers, work, strict=True):
            for job in [jobs[at] for at in running(jobs)]:
                started.append(driver.now)
                driver.end(job)
        if len(started) == 20:
            break
        together(drivers, 0.1)
    assert len(started) == 20
    for moment in started:
        assert sum(moment <= other < moment + 5.0 for other in started) <= 4


def test_what_is_not_used_is_given_back_after_a_moment() -> None:
    driver, other = two(concurrency=2)
    driver.end(calls(driver, driver.start(ROOT), 1)[0])
    driver.after(0.2)
    assert driver.journal.queues.stakes("q")
    driver.after(KEEP_SECONDS)
    assert not driver.journal.queues.stakes("q")
    assert not driver.machine.scheduler.queues.active
    assert running(calls(other, other.start(ROOT, "another"), 2)) == [0, 1]


def test_a_newer_declaration_holds_for_those_who_run_already() -> None:
    driver = driver_with(concurrency=1)
    jobs = calls(driver, driver.start(ROOT), 3)
    driver.journal.queues.declare([QueueLimits("q", concurrency=3)], driver.now)
    driver.after(NEWS_SECONDS)
    assert running(jobs) == [0, 1, 2]


def test_nothing_starts_while_the_answer_is_on_its_way_and_all_goes_on_if_there_is_none() -> None:
    driver = driver_with(concurrency=2)
    driver.hold_shares = True
    jobs = calls(driver, driver.start(ROOT), 2)
    assert running(jobs) == []
    driver.lose_asks()
    driver.after(0.1)
    assert running(jobs) == []
    driver.hold_shares = False
    driver.after(NEWS_SECONDS)
    assert running(jobs) == [0, 1]


# --- explaining -----------------------------------------------------------------------------------


def test_who_waits_can_say_where_and_behind_whom() -> None:
    driver, other = two(concurrency=1)
    root = driver.start(ROOT)
    first, second, third = calls(driver, root, 3)
    calls(other, other.start(ROOT, "other"), 2)
    other.after(NEWS_SECONDS)
    driver.after(NEWS_SECONDS)
    machine = driver.machine
    assert waiting_in_queue(machine, first) is None
    place = waiting_in_queue(machine, third)
    assert place is not None
    assert (place.queue, place.position, place.waiting) == ("q", 2, 2)
    assert [holder.action for holder in place.holders] == [first.id]
    assert [(stake.owner, stake.waiting) for stake in place.others] == [("b", 2)]
    assert waiting_in_queue(machine, second).position == 1  # type: ignore[union-attr]


def test_a_run_that_waits_to_be_admitted_and_a_parent_that_waits_to_go_on_say_so() -> None:
    driver = driver_with(concurrency=1)
    admitted = driver.start(ROOT, "first", queue="q")
    waiting = driver.start(ROOT, "second", queue="q")
    machine = driver.machine
    place = waiting_in_queue(machine, waiting)
    assert place is not None
    assert [holder.run for holder in place.holders] == ["first"]
    driver.end(admitted)
    driver.end(waiting)
    root = driver.start(ROOT, "third")
    parent = driver.call(root, spec("parent", is_async=True, queue="q"))
    child = driver.call(parent, spec("child"))
    (job,) = calls(driver, root, 1)
    driver.end(child)
    place = waiting_in_queue(machine, parent)
    assert place is not None
    assert place.position == 1
    assert [holder.action for holder in place.holders] == [job.id]
