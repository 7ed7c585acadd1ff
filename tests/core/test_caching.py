"""Kept values: hits, misses, what is written, and identical actions that run one at a time."""

import pytest

from core.driver import Driver, Stage, error, marked, policy, spec
from core.driver import Timeout as Limits
from perdure._core.keys import key_of
from perdure._core.model import Demand, Origin, Phase, TaskSpec
from perdure._core.records import CacheAnswer, CacheRow, ClaimEnd
from perdure._core.state import Action

CACHED = spec("cached", cache=policy())
SERIAL = spec("serial", cache=policy(serialize=True))
ROOT = spec("root", is_async=True)


@pytest.fixture
def driver() -> Driver:
    return Driver(cpu=8)


def kept(driver: Driver) -> list[CacheRow]:
    return [row for row in driver.rows if isinstance(row, CacheRow)]


def verdict(driver: Driver, action: Action) -> str:
    row = driver.recorded(action.id, action.run.key)
    assert row is not None
    assert row.cache is not None
    return row.cache.verdict


def make(driver: Driver, value: bytes = b"made", task: TaskSpec = CACHED) -> Action:
    """Have a first run keep a value."""
    root = driver.start(ROOT, "first")
    made = driver.call(root, task)
    driver.end(made, value)
    driver.end(root)
    return made


def another(driver: Driver, **options: object) -> Action:
    """Start a second run."""
    return driver.start(ROOT, "second", **options)


# --- hits and misses ------------------------------------------------------------------------------


def test_a_kept_value_ends_an_action_of_another_run_without_an_attempt(driver: Driver) -> None:
    made = make(driver)
    root = another(driver)
    again = driver.call(root, CACHED)
    assert driver.started().count("cached") == 1
    assert [o.value for o in driver.delivered(again.id)] == [b"made"]
    row = driver.recorded(again.id, root.run.key)
    assert row is not None
    assert (row.phase, row.attempts, row.origin) == (
        Phase.SUCCEEDED, 0, Origin("first", made.id),
    )  # fmt: skip
    assert verdict(driver, again) == "hit"
    assert len(kept(driver)) == 1


def test_nobody_sees_a_kept_value_before_it_is_recorded_as_the_actions_own(driver: Driver) -> None:
    make(driver)
    root = another(driver)
    driver.hold_commits = True
    again = driver.call(root, CACHED)
    assert driver.delivered(again.id) == []
    driver.commit()
    assert len(driver.delivered(again.id)) == 1


def test_a_root_that_is_kept_ends_its_run_at_once(driver: Driver) -> None:
    driver.end(driver.start(CACHED, "first"), b"made")
    driver.start(CACHED, "second")
    assert [o.value for o in driver.ended] == [b"made", b"made"]
    assert driver.started() == ["cached"]


@pytest.mark.parametrize(
    "other",
    [
        {"task": spec("cached", cache=policy(b"v2"))},
        {"task": CACHED, "given": b"other inputs"},
    ],
)
def test_another_version_or_input_is_a_miss(driver: Driver, other: dict[str, object]) -> None:
    make(driver)
    missed = driver.call(another(driver), **other)  # type: ignore[arg-type]
    assert missed.stage is Stage.RUNNING
    driver.end(missed)
    assert verdict(driver, missed) == "miss"
    assert len(kept(driver)) == 2


def test_values_of_tasks_without_a_cache_are_not_kept_and_nothing_is_asked(driver: Driver) -> None:
    driver.hold_consults = True
    root = driver.start(ROOT)
    child = driver.call(root)
    driver.end(child)
    row = driver.recorded(child.id)
    assert row is not None
    assert row.cache is None
    assert kept(driver) == []


def test_a_value_and_the_outcome_it_is_are_committed_together(driver: Driver) -> None:
    root = driver.start(ROOT)
    child = driver.call(root, CACHED)
    driver.hold_commits = True
    driver.end(child, b"made")
    kinds = [type(row).__name__ for row in driver._rows]
    assert kinds[-2:] == ["ActionRow", "CacheRow"]


def test_failures_are_not_kept(driver: Driver) -> None:
    root = driver.start(ROOT)
    driver.fail(driver.call(root, CACHED))
    assert kept(driver) == []


def test_a_value_that_a_retry_has_made_is_kept(driver: Driver) -> None:
    root = driver.start(ROOT)
    child = driver.call(root, spec("cached", retries=1, cache=policy()))
    driver.fail(child)
    driver.end(child, b"made")
    assert [row.value for row in kept(driver)] == [b"made"]


def test_a_value_that_was_found_is_not_written_again(driver: Driver) -> None:
    make(driver)
    driver.call(another(driver), CACHED)
    assert len(kept(driver)) == 1


def test_a_value_whose_blobs_are_gone_is_made_again(driver: Driver) -> None:
    make(driver)
    driver.damaged.add(key_of(policy(), {"x": marked(b"inputs")}))
    again = driver.call(another(driver), CACHED)
    driver.end(again, b"whole")
    assert verdict(driver, again) == "damaged"
    assert [row.value for row in kept(driver)] == [b"made", b"whole"]


def test_an_input_that_is_a_future_counts_as_the_value_it_comes_to_have(driver: Driver) -> None:
    make(driver)
    root = another(driver)
    producer = driver.call(root, "producer")
    consumer = driver.call(root, CACHED, needs=(producer.id,))
    assert consumer.stage is Stage.WAITING
    driver.end(producer, b"inputs")
    assert [o.value for o in driver.delivered(consumer.id)] == [b"made"]


def test_an_action_whose_key_cannot_be_known_just_runs(driver: Driver) -> None:
    root = driver.start(ROOT)
    driver.hold_consults = True
    child = driver.call(root, SERIAL)
    (asked,) = driver._consults
    driver.machine.caching.consulted(asked, {}, b"", CacheAnswer())
    driver.settle()
    driver.end(child)
    assert verdict(driver, child) == "unknowable"
    assert kept(driver) == []


def test_a_request_that_no_node_can_meet_does_not_matter_if_the_value_is_kept() -> None:
    driver = Driver(cpu=8)
    make(driver)
    huge = TaskSpec("cached", CACHED.loader, demand=Demand(cpu=64), cache=policy())
    root = another(driver)
    assert [o.value for o in driver.delivered(driver.call(root, huge).id)] == [b"made"]
    assert driver.failure(driver.call(root, huge, k=1, given=b"new")).code == "infeasible"


def test_cancelling_an_action_that_waits_for_the_answer_ends_it(driver: Driver) -> None:
    make(driver)
    root = another(driver)
    driver.hold_consults = True
    child = driver.call(root, CACHED)
    assert root.attempt is not None
    driver.machine.cancel_call(root.attempt.handle, child.id)
    driver.settle()
    assert driver.failure(child).code == "cancelled"
    driver.consult()
    assert len(driver.delivered(child.id)) == 1


# --- what users ask for ---------------------------------------------------------------------------


def test_override_runs_and_keeps_the_new_value(driver: Driver) -> None:
    make(driver)
    root = another(driver)
    again = driver.call(root, spec("cached", cache=policy(overwrite=True)))
    driver.end(again, b"newer")
    assert verdict(driver, again) == "overwrite"
    third = driver.call(root, CACHED, k=1)
    assert [o.value for o in driver.delivered(third.id)] == [b"newer"]


def test_a_run_may_overwrite_everything(driver: Driver) -> None:
    make(driver)
    driver.end(driver.call(another(driver, cache="overwrite"), CACHED), b"newer")
    assert [row.value for row in kept(driver)] == [b"made", b"newer"]


def test_a_run_may_leave_the_cache_alone(driver: Driver) -> None:
    make(driver)
    child = driver.call(another(driver, cache="disable"), CACHED)
    driver.end(child, b"newer")
    assert len(kept(driver)) == 1
    row = driver.recorded(child.id, child.run.key)
    assert row is not None
    assert row.cache is None


def test_tasks_that_a_rerun_forces_run_anew(driver: Driver) -> None:
    make(driver)
    child = driver.call(another(driver, force=("cached",)), CACHED)
    assert child.stage is Stage.RUNNING


def test_a_value_older_than_max_age_is_not_used_but_by_those_who_allow_it(driver: Driver) -> None:
    make(driver)
    driver.after(60)
    root = another(driver)
    strict = driver.call(root, spec("cached", cache=policy(max_age=30.0)))
    assert strict.stage is Stage.RUNNING
    lenient = driver.call(root, spec("cached", cache=policy(max_age=90.0)), k=1)
    assert [o.value for o in driver.delivered(lenient.id)] == [b"made"]
    driver.end(strict)
    assert verdict(driver, strict) == "expired"


# --- replays --------------------------------------------------------------------------------------


def test_a_recorded_hit_is_recalled_though_the_cache_was_cleared(driver: Driver) -> None:
    make(driver)
    root = another(driver)
    driver.call(root, CACHED)
    assert driver.journal.clear_cache() == 1
    after = driver.restarted()
    root = after.start(ROOT, "second")
    after.read_on(root)
    assert after.claim(root, "cached") == b"made"


def test_an_action_that_was_in_flight_when_its_controller_died_asks_again(driver: Driver) -> None:
    root = driver.start(ROOT)
    child = driver.call(root, CACHED)
    driver.flush()
    after = driver.restarted()
    root = after.start(ROOT)
    again = after.call(root, CACHED)
    after.end(again, b"made")
    assert [row.value for row in kept(after)] == [b"made"]
    assert again.id == child.id


def test_what_may_rest_on_outcomes_of_other_code_is_not_kept(driver: Driver) -> None:
    root = driver.start(CACHED)
    driver.end(driver.call(root, "old"))
    after = driver.restarted()
    root = after.start(CACHED, mixed=True)
    fresh = after.call(root, spec("fresh", cache=policy()))
    after.end(fresh, b"new code only")
    after.read_on(root)
    after.end(root, b"old and new code")
    assert [row.value for row in kept(after)] == [b"new code only"]


# --- one at a time --------------------------------------------------------------------------------


def test_identical_actions_run_once_and_the_others_get_the_value(driver: Driver) -> None:
    root = driver.start(ROOT)
    twins = [driver.call(root, SERIAL, k=k) for k in range(4)]
    assert [twin.stage for twin in twins].count(Stage.RUNNING) == 1
    driver.end(twins[0], b"made")
    assert driver.started().count("serial") == 1
    assert all(driver.delivered(twin.id)[0].value == b"made" for twin in twins)


def test_other_inputs_do_not_wait(driver: Driver) -> None:
    root = driver.start(ROOT)
    twins = [driver.call(root, SERIAL, k=k, given=b"%d" % k) for k in range(3)]
    assert {twin.stage for twin in twins} == {Stage.RUNNING}


def test_if_the_one_that_runs_fails_the_next_runs(driver: Driver) -> None:
    root = driver.start(ROOT)
    first, second, third = (driver.call(root, SERIAL, k=k) for k in range(3))
    driver.fail(first)
    assert driver.failure(first).message == "boom"
    assert (second.stage, third.stage) == (Stage.RUNNING, Stage.CONSULTING)
    driver.end(second, b"made")
    assert driver.delivered(third.id)[0].value == b"made"


def test_the_claim_is_kept_through_retries_and_lost_workers(driver: Driver) -> None:
    root = driver.start(ROOT)
    serial = spec("serial", retries=1, cache=policy(serialize=True))
    first, second = (driver.call(root, serial, k=k) for k in range(2))
    driver.fail(first)
    driver.kill(first)
    assert (first.stage, second.stage) == (Stage.RUNNING, Stage.CONSULTING)
    driver.end(first, b"made")
    assert driver.delivered(second.id)[0].value == b"made"


def test_cancelling_the_one_that_runs_lets_the_next_run(driver: Driver) -> None:
    root = driver.start(ROOT)
    first, second = (driver.call(root, SERIAL, k=k) for k in range(2))
    assert root.attempt is not None
    driver.machine.cancel_call(root.attempt.handle, first.id)
    driver.settle()
    assert second.stage is Stage.CONSULTING
    driver.fail(first, error("cancelled"))
    assert second.stage is Stage.RUNNING


def test_cancelling_one_that_waits_leaves_the_others(driver: Driver) -> None:
    root = driver.start(ROOT)
    first, second, third = (driver.call(root, SERIAL, k=k) for k in range(3))
    assert root.attempt is not None
    driver.machine.cancel_call(root.attempt.handle, second.id)
    driver.settle()
    driver.end(first, b"made")
    assert driver.failure(second).code == "cancelled"
    assert driver.delivered(third.id)[0].value == b"made"


def test_one_that_waits_may_run_out_of_time(driver: Driver) -> None:
    root = driver.start(ROOT)
    driver.call(root, SERIAL)
    hasty = spec("serial", timeout=Limits(deadline=5.0), cache=policy(serialize=True))
    waiting = driver.call(root, hasty, k=1)
    driver.after(6)
    assert driver.failure(waiting).code == "timeout"


def test_a_claim_that_is_granted_to_an_action_that_was_stopped_is_given_back(
    driver: Driver,
) -> None:
    root = driver.start(ROOT)
    driver.hold_consults = True
    first = driver.call(root, SERIAL)
    assert root.attempt is not None
    driver.machine.cancel_call(root.attempt.handle, first.id)
    driver.settle()
    driver.consult()
    assert [row for row in driver.rows if isinstance(row, ClaimEnd)]
    driver.hold_consults = False
    assert driver.call(root, SERIAL, k=1).stage is Stage.RUNNING


def test_an_action_below_the_one_that_runs_does_not_wait_for_it(driver: Driver) -> None:
    root = driver.start(ROOT)
    outer = driver.call(root, SERIAL)
    inner = driver.call(outer, SERIAL)
    assert inner.stage is Stage.RUNNING
    driver.end(inner, b"inner")
    driver.end(outer, b"outer")
    assert driver.outcome(outer) is not None


def test_overwriting_one_at_a_time_takes_what_ran_since_the_call(driver: Driver) -> None:
    make(driver, task=SERIAL)
    driver.after(10)
    root = another(driver, cache="overwrite")
    first, second = (driver.call(root, SERIAL, k=k) for k in range(2))
    assert (first.stage, second.stage) == (Stage.RUNNING, Stage.CONSULTING)
    driver.after(1)
    driver.end(first, b"newer")
    assert driver.delivered(second.id)[0].value == b"newer"


def test_two_runs_of_one_controller_wait_for_each_other(driver: Driver) -> None:
    one, two = driver.start(ROOT, "one"), driver.start(ROOT, "two")
    first, second = driver.call(one, SERIAL), driver.call(two, SERIAL)
    assert second.stage is Stage.CONSULTING
    driver.end(first, b"made")
    assert driver.delivered(second.id)[0].value == b"made"


def test_if_the_run_of_the_one_that_runs_is_dropped_another_runs_goes_on(driver: Driver) -> None:
    one, two = driver.start(ROOT, "one"), driver.start(ROOT, "two")
    driver.call(one, SERIAL)
    second = driver.call(two, SERIAL)
    driver.machine.drop_run(one.run.key)
    driver.settle()
    assert second.stage is Stage.CONSULTING  # the lease of the run has not ended yet
    driver.journal.release(one.run.key, one.run.epoch)
    driver.after(1)
    assert second.stage is Stage.RUNNING


# --- two controllers ------------------------------------------------------------------------------


def beside(driver: Driver) -> Driver:
    """Return another controller that lives at the same time."""
    other = Driver(8, driver.journal)
    other.now = driver.now
    other.machine.advance(other.now)
    return other


def test_a_controller_waits_for_the_value_that_another_one_makes(driver: Driver) -> None:
    other = beside(driver)
    first = driver.call(driver.start(ROOT, "one"), SERIAL)
    second = other.call(other.start(ROOT, "two"), SERIAL)
    assert second.stage is Stage.CONSULTING
    for _ in range(5):
        other.after(1)
        assert second.stage is Stage.CONSULTING
    driver.end(first, b"made")
    other.after(1)
    assert other.delivered(second.id)[0].value == b"made"
    assert other.started() == ["root"]


def test_the_death_of_the_controller_that_makes_the_value_makes_room(driver: Driver) -> None:
    other = beside(driver)
    driver.call(driver.start(ROOT, "one"), SERIAL)
    second = other.call(other.start(ROOT, "two"), SERIAL)
    other.dead.add(f"{id(driver)}")
    other.after(1)
    assert second.stage is Stage.RUNNING


def test_a_resumed_run_claims_its_key_anew(driver: Driver) -> None:
    driver.call(driver.start(ROOT, "one"), SERIAL)
    after = driver.restarted()
    assert after.call(after.start(ROOT, "one"), SERIAL).stage is Stage.RUNNING
