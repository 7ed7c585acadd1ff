"""Queues of a home, as processes declare and see them; runs that name them."""

import pytest

import perdure
from perdure import errors
from perdure._core.sharing import QueueLimits
from perdure.client import queues

SECONDS = 60.0


def test_a_name_that_nobody_has_declared_is_refused_with_the_way_to_declare_it(jobs):
    nobodys = jobs.add.override(queue="nobodys")
    for start in (
        lambda: perdure.run(jobs.add, 1, queue="nobodys"),
        lambda: perdure.run(nobodys, 1),
    ):
        with pytest.raises(errors.QueueNotFoundError) as told:
            start()
        assert "perdure queue set nobodys" in told.value.hint


def test_declared_queues_admit_runs_and_run_tasks_and_are_listed(jobs):
    queues.set_limits(QueueLimits("night", concurrency=1))
    mine = perdure.Queue("mine", concurrency=1, rate="1000/s")
    at_night = jobs.add.override(queue="night")
    assert perdure.run(at_night, 3, queue=mine, priority=2).result(timeout=SECONDS) == 4
    runner = perdure.with_runcontext(queue="night", priority=-1)
    assert runner.run(at_night, 4).result(timeout=SECONDS) == 5
    found = {state.limits.name: state.limits for state in queues.listed()}
    assert found["mine"] == mine.limits()
    assert found["night"] == QueueLimits("night", concurrency=1)


def test_another_declaration_holds_for_everybody_and_is_told(jobs):
    perdure.Queue("changing", concurrency=2)
    perdure.run(jobs.add, 1, queue="changing").wait()
    perdure.Queue("changing", concurrency=5, depth=3)
    with pytest.warns(UserWarning, match="had concurrency=2 and has concurrency=5, depth=3"):
        perdure.run(jobs.add, 1, queue="changing").wait()
    perdure.run(jobs.add, 1, queue="changing").wait()  # once is enough


def test_a_full_queue_refuses_runs(jobs):
    perdure.Queue("full", rate=perdure.Rate(1, per=3600), depth=1)
    assert perdure.run(jobs.add, 1, queue="full").result(timeout=SECONDS) == 2
    waiting = perdure.run(jobs.add, 2, queue="full")
    with pytest.raises(errors.QueueFullError, match="its depth is 1") as told:
        perdure.run(jobs.add, 3, queue="full")
    assert told.value.retryable
    assert "perdure queue set full --depth" in told.value.hint
    waiting.abort()


def test_a_queue_that_is_not_used_can_be_forgotten():
    queues.set_limits(QueueLimits("gone", concurrency=1))
    queues.remove("gone")
    with pytest.raises(errors.QueueNotFoundError):
        queues.remove("gone")
