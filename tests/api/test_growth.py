"""What a task asks for after it has run out of memory: worked out where it is defined."""

import pytest

import perdure
from perdure._core.model import Demand
from perdure.errors import ConfigurationError

MIB = 1 << 20


def asked(on_oom, **resources):
    """Return the requests that follow the first one."""
    retries = perdure.RetryStrategy(on_oom=on_oom)
    return retries.policy(perdure.Resources(**resources)).on_oom


def test_a_factor_grows_eight_times():
    steps = asked(perdure.Resources(memory="x2"), memory="200Mi", cpu=2)
    assert [step.memory // MIB for step in steps] == [200 << n for n in range(1, 9)]
    assert {step.cpu for step in steps} == {2.0}


def test_an_amount_is_added_each_time():
    steps = asked(perdure.Resources(memory="+512Mi"), memory="1Gi")
    assert [step.memory // MIB for step in steps[:3]] == [1536, 2048, 2560]


def test_a_plain_request_is_asked_for_once():
    assert asked(perdure.Resources(memory="8Gi"), memory="1Gi") == (Demand(1.0, 8 << 30),)
    assert asked(perdure.Resources(memory="8Gi")) == (Demand(1.0, 8 << 30),)


def test_a_function_says_what_to_ask_for_until_it_gives_up():
    def more(attempt, resources):
        assert resources.memory == attempt * 100
        return perdure.Resources(memory=(attempt + 1) * 100) if attempt < 3 else None

    assert [step.memory for step in asked(more, memory=100)] == [200, 300]


def test_a_function_that_asks_for_no_more_gives_up():
    assert asked(lambda attempt, resources: resources, memory=100) == ()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: perdure.RetryStrategy(on_oom="x2"), "neither perdure.Resources nor a function"),
        (lambda: perdure.RetryStrategy(on_oom=perdure.Resources(cpu=2)), "what grows is memory"),
        (lambda: perdure.RetryStrategy(on_oom=perdure.Resources(2, "x2")), "what grows is memory"),
        (lambda: perdure.Resources(memory="x1"), "does not ask for more"),
        (lambda: perdure.Resources(memory="xx"), "is not a quantity"),
        (lambda: asked(perdure.Resources(memory="x2")), "no request that could grow"),
        (lambda: asked(lambda n, r: 5, memory=100), "on_oom returned 5 for attempt 1"),
    ],
)
def test_what_makes_no_sense_is_refused(make, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        make()


def test_a_task_without_a_request_that_could_grow_is_refused_where_it_is_defined():
    env = perdure.TaskEnvironment("growth")
    retries = perdure.RetryStrategy(on_oom=perdure.Resources(memory="x2"))
    with pytest.raises(ConfigurationError, match="no request that could grow"):

        @env.task(retries=retries)
        def grow() -> None: ...

    @env.task(retries=retries, resources=perdure.Resources(memory="1Gi"))
    def fine() -> None: ...

    with pytest.raises(ConfigurationError, match="no request that could grow"):
        fine.override(resources=perdure.Resources())


def test_a_task_cannot_ask_for_what_is_relative_to_nothing():
    with pytest.raises(ConfigurationError, match="says how a request grows"):
        perdure.TaskEnvironment("growth", resources=perdure.Resources(memory="x2"))
