"""Runs that ask, and people who answer them."""

import asyncio
import importlib
import sys
import time

import pytest

import perdure
from perdure import errors
from perdure.client import link, signalling

ASKING = """
import asyncio
import enum
from dataclasses import dataclass
from typing import Literal

import pydantic

import perdure

env = perdure.TaskEnvironment("asking")


class Choice(enum.Enum):
    SHIP = "ship"
    HOLD = "hold"


@dataclass
class Review:
    by: str
    stars: int = 3


class Limits(pydantic.BaseModel):
    most: int


@env.task
def publish() -> bool:
    question = perdure.new_condition("approve", "Publish?", description="It is good")
    return question.wait() and question.wait()


@env.task
def every_type() -> list[object]:
    return [
        perdure.new_condition("int", data_type=int).wait(),
        perdure.new_condition("literal", data_type=Literal["low", "high"]).wait(),
        perdure.new_condition("enum", data_type=Choice).wait(),
        perdure.new_condition("dataclass", data_type=Review).wait(),
        perdure.new_condition("model", data_type=Limits | None).wait(),
    ]


@env.task
async def several() -> list[str]:
    asked = [await perdure.new_condition.aio("which", data_type=str) for _ in range(3)]
    return list(await asyncio.gather(*(each.wait.aio() for each in asked)))


@env.task
def refused() -> str:
    try:
        perdure.new_condition("approve").wait()
    except perdure.errors.ConditionFailedError as error:
        return error.message
    return ""


@env.task
async def ignored() -> str:
    question = perdure.new_condition("approve", timeout=0.01)
    try:
        await question.wait.aio()
    except TimeoutError as error:
        return type(error).__name__
    return ""


@env.task
async def blocking() -> None:
    perdure.new_condition("approve").wait()
"""


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    """A module with tasks that ask."""
    folder = tmp_path_factory.mktemp("asking")
    (folder / "asking_tasks.py").write_text(ASKING)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield importlib.import_module("asking_tasks")
    del sys.modules["asking_tasks"]
    sys.path.remove(str(folder))


def asked(run, count=1):
    """Wait until the run asks for so many answers, and return what it asks."""
    deadline = time.monotonic() + 60
    while len(found := run.conditions()) < count:
        assert time.monotonic() < deadline, f"it does not ask: {run.actions()}"
        time.sleep(0.01)
    return found


def test_what_is_asked_can_be_seen_and_answered_once(asking):
    run = perdure.run(asking.publish)
    (question,) = asked(run)
    assert question[:6] == (
        "approve", "Publish?", "text", "bool", ("true", "false"), "It is good",
    )  # fmt: skip
    assert run.phase == "waiting"
    assert [each.name for each in perdure.runs(phase="waiting")] == [run.name]
    with pytest.raises(errors.TypeCheckError, match="condition approve: expected bool, got str"):
        run.signal("approve", "yes")
    with pytest.raises(errors.ConditionNotFoundError, match=r"these do: approve \(#2\)"):
        run.signal("approval", True)
    perdure.get_run(run.name).signal("approve", True)
    assert run.result(timeout=60) is True
    with pytest.raises(errors.ConditionAnsweredError, match="was answered with True"):
        run.signal("approve", False)
    assert run.conditions() == []
    (event,) = [each for each in link.views().run(run.name).events if each.kind == "signal"]
    assert event.text.startswith("answered by ")


def test_answers_are_of_any_type_that_parameters_may_have(asking):
    answers = {
        "int": 7, "literal": "high", "enum": asking.Choice.HOLD, "dataclass": asking.Review("me"),
        "model": asking.Limits(most=3),
    }  # fmt: skip
    run = perdure.run(asking.every_type)
    for name, answer in answers.items():
        (question,) = asked(run)
        assert question.name == name
        with pytest.raises(errors.TypeCheckError):
            run.signal(name, object)
        run.signal(name, answer)
        deadline = time.monotonic() + 60
        while run.conditions() and run.conditions()[0].name == name:
            assert time.monotonic() < deadline
    assert run.result(timeout=60) == [*answers.values()]


def test_of_several_with_one_name_the_oldest_is_answered_or_that_of_a_number(asking):
    run = perdure.run(asking.several)
    _, second, third = asked(run, 3)
    asyncio.run(run.signal.aio(f"#{second.number}", "second"))
    run.signal("which", "first")
    run.signal(third.action[:8], "third")
    assert run.result(timeout=60) == ["first", "second", "third"]


def test_an_answer_may_be_an_error(asking):
    run = perdure.run(asking.refused)
    asked(run)
    run.signal("approve", fail="not this one")
    assert run.result(timeout=60) == "not this one"
    with pytest.raises(errors.ConditionAnsweredError, match="has ended: not this one"):
        run.signal("approve", True)


def test_nobody_answers_in_time(asking):
    assert perdure.run(asking.ignored).result(timeout=60) == "ConditionTimedoutError"


def test_to_block_an_event_loop_is_refused(asking):
    with pytest.raises(errors.SyncTaskCallInAsyncContextError, match="condition approve"):
        perdure.run(asking.blocking).result(timeout=60)


def test_an_interrupted_run_is_answered_too_and_finds_the_answer_when_it_is_resumed(asking):
    run = perdure.run(asking.publish)
    asked(run)
    link.running().shutdown()
    assert run.phase == "interrupted"
    assert len(run.conditions()) == 1
    run.signal("approve", False)
    assert run.conditions() == []
    with pytest.raises(errors.ConditionAnsweredError):
        run.signal("approve", True)
    assert link.running() is None
    assert perdure.resume(run.name).result(timeout=60) is False


def test_a_resumed_run_goes_on_waiting_and_a_rerun_asks_again_unless_it_takes_answers_over(asking):
    run = perdure.run(asking.publish)
    asked(run)
    link.running().shutdown()
    perdure.resume(run.name)
    run.signal("approve", True)  # perhaps before it asks again
    assert run.result(timeout=60) is True
    assert perdure.rerun(run.name).result(timeout=60) is True
    again = perdure.rerun(run.name, recover=False)
    asked(again)
    again.signal("approve", False)
    assert again.result(timeout=60) is False


def test_who_is_asked_for_an_answer_and_lets_go_of_the_run_does_not_lose_it(asking, monkeypatch):
    run = perdure.run(asking.publish)
    asked(run)
    real, calls = signalling.ask, []

    def hang_up(address, token, request):
        calls.append(real(address, token, request).done)
        raise ConnectionResetError

    monkeypatch.setattr(signalling, "ask", hang_up)
    run.signal("approve", True)  # it was recorded, only nobody could say so
    assert calls[0] is True
    assert run.result(timeout=60) is True


def test_a_run_that_was_aborted_takes_no_answers(asking):
    run = perdure.run(asking.publish)
    asked(run)
    run.abort()
    run.wait(timeout=60)
    with pytest.raises((errors.ConditionAnsweredError, errors.ConditionNotFoundError)):
        run.signal("approve", True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": ""}, errors.ConfigurationError),
        ({"name": 3}, errors.ConfigurationError),
        ({"prompt": None}, errors.ConfigurationError),
        ({"prompt_type": "html"}, errors.ConfigurationError),
        ({"timeout": 0}, ValueError),
        ({"timeout": "1h"}, ValueError),
        ({"data_type": "bool"}, TypeError),
        ({"webhook": "https://example.com"}, errors.NotSupportedError),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(arguments, error):
    with pytest.raises(error):
        perdure.new_condition(arguments.pop("name", "approve"), **arguments)


def test_outside_any_run_nobody_can_answer():
    question = perdure.new_condition("approve")
    with pytest.raises(errors.ConfigurationError, match="outside any run"):
        question.wait()
