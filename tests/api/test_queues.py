"""Declaring queues, and giving them to tasks and runs."""

from datetime import timedelta

import pytest

import perdure
from perdure import errors
from perdure._core.sharing import QueueLimits
from perdure.client.running import _run_options

env = perdure.TaskEnvironment("queues")


@env.task
def plain(x: int) -> int:
    return x


@env.task
def named(queue: str, priority: int) -> str:
    return queue


@env.task
def any_name(**options: int) -> int:
    return len(options)


@pytest.mark.parametrize(
    ("rate", "starts", "period"),
    [
        ("100/m", 100, 60.0), ("5/s", 5, 1.0), ("10/30s", 10, 30.0), (" 7 / 2 h ", 7, 7200.0),
        (perdure.Rate(3), 3, 60.0), (perdure.Rate(3, per=0.5), 3, 0.5),
        (perdure.Rate(3, per=timedelta(days=1)), 3, 86_400.0), (None, 0, 0.0),
    ],
)  # fmt: skip
def test_rates_as_people_write_them(rate, starts, period):
    limits = perdure.Queue("rated", concurrency=2, rate=rate, depth=4, priority=-3).limits()
    assert limits == QueueLimits("rated", 2, starts, period, 4, -3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: perdure.Queue("two words"),
        lambda: perdure.Queue(""),
        lambda: perdure.Queue("q", concurrency=0),
        lambda: perdure.Queue("q", concurrency=True),
        lambda: perdure.Queue("q", depth=-1),
        lambda: perdure.Queue("q", priority=1.5),
        lambda: perdure.Queue("q", rate="fast"),
        lambda: perdure.Queue("q", rate="0/m"),
        lambda: perdure.Rate(5, per=0),
        lambda: perdure.TaskEnvironment("e", queue=3),
        lambda: plain.override(queue="two words"),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(errors.ConfigurationError) as told:
        make()
    assert str(told.value)


def test_a_task_has_the_queue_of_its_environment_its_own_or_none():
    queue = perdure.Queue("api", concurrency=3)
    of_queue = perdure.TaskEnvironment("of_queue", queue=queue)

    @of_queue.task
    def first(): ...

    @of_queue.task(queue="other")
    def second(): ...

    assert (first.spec().queue, second.spec().queue) == ("api", "other")
    assert first.override(queue=None).spec().queue == ""
    assert plain.spec().queue == ""
    assert plain.override(queue=queue).spec().queue == "api"


@pytest.mark.parametrize(
    ("task", "left", "taken"),
    [
        (plain, {"x": 1}, {"queue": "q", "priority": 2}),
        (named, {"x": 1, "queue": "q", "priority": 2}, {}),
        (any_name, {"x": 1, "queue": "q", "priority": 2}, {}),
    ],
)
def test_a_run_takes_its_options_unless_the_task_has_such_parameters(task, left, taken):
    given = {"x": 1, "queue": "q", "priority": 2}
    assert _run_options(task, given) == taken
    assert given == left
