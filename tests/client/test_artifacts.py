"""Artifacts from Python: published in runs and outside of them, found, passed to tasks."""

import asyncio
import datetime as dt
import importlib
import itertools
import pickle
import sqlite3
import sys

import numpy as np
import pytest

import perdure
from perdure import artifacts
from perdure.client import link
from perdure.errors import (
    ArtifactConflictError,
    ArtifactNotFoundError,
    ConfigurationError,
    NotSupportedError,
    SerializationError,
    TypeCheckError,
)

TASKS = """
from pathlib import Path

import numpy as np

import perdure
from perdure import artifacts

env = perdure.TaskEnvironment("arts")


def note(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(text + "\\n")


@env.task
def total(values: np.ndarray, factor: int = 1) -> int:
    return int(values.sum()) * factor


@env.task
def newest(values: np.ndarray = artifacts.query("numbers")) -> int:
    return int(values.sum())


@env.task
def publish(size: int) -> str:
    made = artifacts.publish(np.arange(size), "numbers", tags=["fresh"])
    return made.label


@env.task
async def publish_aio(size: int) -> int:
    made = await artifacts.publish.aio(np.arange(size), "numbers")
    found = await artifacts.get.aio("numbers")
    assert made == found
    return await total.aio(found)


@env.task
def hand_on(size: int) -> np.ndarray:
    return artifacts.publish(np.arange(size), "numbers")


@env.task
def careful(path: str, gate: str) -> list[str]:
    first = artifacts.publish({"at": path}, "steps")
    found = artifacts.get("numbers")
    note(path, found.label)
    if not Path(gate).exists():
        raise RuntimeError("the gate is closed")
    return [first.label, found.label]


@env.task
def conflicting() -> str:
    try:
        artifacts.publish(2, "fixed", version="1.0")
    except perdure.errors.ArtifactConflictError as error:
        return f"{error.code}: {error.message}"
    return "published"


@env.task
def missing() -> None:
    artifacts.get("nothing")


@env.task
def looking() -> None:
    artifacts.list()


@env.task
def like_flyte(value: int) -> int:
    about = artifacts.Metadata(
        name="weights", version="1", kind="model", description="small", attrs={"layers": "2"},
        partitions={"day": "monday"},
    )
    return artifacts.new(value, about)
"""

_numbers = itertools.count()


@pytest.fixture
def arts(tmp_path, monkeypatch):
    """A module with tasks, new for every test."""
    name = f"arts_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module(name)
    del sys.modules[name]


# --- outside of runs ------------------------------------------------------------------------------


def test_a_published_value_is_found_with_all_that_was_said_of_it():
    made = artifacts.publish(
        {"weights": [1, 2]}, "team/model", kind="model", metadata={"loss": 0.5, "by": ["me"]},
        tags=["best"], partitions={"day": dt.date(2026, 1, 31), "fold": 3},
    )  # fmt: skip
    assert made.label == "team/model@1"
    found = artifacts.get("team/model")
    assert found == made
    assert found.value() == {"weights": [1, 2]}
    assert (found.name, found.version, found.kind) == ("team/model", "1", "model")
    assert found.metadata == {"loss": 0.5, "by": ["me"]}
    assert found.partitions == {"day": "2026-01-31", "fold": "3"}
    assert found.tags == ("best",)
    assert (found.run, found.action) == ("", "")
    assert abs((dt.datetime.now(dt.UTC) - found.created).total_seconds()) < 100
    assert repr(found) == "<model team/model@1>"


def test_versions_tags_and_partitions_find_what_they_should():
    for number in range(3):
        artifacts.publish(number, "n", partitions={"odd": number % 2})
    artifacts.tag("n", 2, tags="middle")
    assert artifacts.get("n").value() == 2
    assert artifacts.get("n", 1).value() == artifacts.get("n@1").value() == 0
    assert artifacts.get("n", "middle").version == artifacts.get("n@middle").version == "2"
    assert artifacts.get("n", odd=1).version == "2"
    assert artifacts.untag("n", 2, tags=["middle"]).tags == ()
    with pytest.raises(ArtifactNotFoundError, match="no artifact n@middle"):
        artifacts.get("n", "middle")
    with pytest.raises(ArtifactNotFoundError, match="n@latest with odd=7"):
        artifacts.get("n", odd=7)


def test_listing_gives_newest_versions_or_all_of_one_name():
    for number in range(3):
        artifacts.publish(number, "n", kind="number", tags=[f"t{number}"])
    artifacts.publish("x", "text", partitions={"a": "b"})
    assert [each.label for each in artifacts.list()] == ["text@1", "n@3"]
    assert [each.label for each in artifacts.list("n")] == ["n@3", "n@2", "n@1"]
    assert [each.label for each in artifacts.list("n", limit=1)] == ["n@3"]
    assert [each.label for each in artifacts.list(kind="number")] == ["n@3"]
    assert [each.label for each in artifacts.list(tag="t1")] == ["n@2"]
    assert [each.label for each in artifacts.list(partitions={"a": "b"})] == ["text@1"]
    assert artifacts.list("nothing") == []


def test_publishing_and_finding_start_no_workers():
    artifacts.publish(1, "n")
    assert artifacts.get("n").value() == 1
    assert link.running() is None


def test_the_awaitable_forms_do_the_same_outside():
    async def main():
        made = await artifacts.publish.aio([1], "n")
        return made == await artifacts.get.aio("n")

    assert asyncio.run(main())


def test_a_handle_may_be_pickled():
    made = artifacts.publish([1], "n", tags=["a"])
    again = pickle.loads(pickle.dumps(made))
    assert (again, again.value(), again.tags) == (made, [1], ("a",))


@pytest.mark.parametrize(
    "options",
    [
        {"name": "@"}, {"name": ""}, {"name": "a@1"}, {"name": "a:b"}, {"name": "/a"},
        {"version": "1/2"}, {"version": ""}, {"kind": "two words"}, {"tags": ["a b"]},
        {"metadata": {"a": object}}, {"partitions": {"a b": 1}}, {"partitions": {"a": None}},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_is_stored(options):
    with pytest.raises(ConfigurationError) as told:
        artifacts.publish(1, **({"name": "n"} | options))
    assert told.value.hint
    assert artifacts.list() == []


def test_a_name_with_a_version_and_another_version_is_refused():
    with pytest.raises(ConfigurationError, match="n@1 is asked for in version 2"):
        artifacts.get("n@1", 2)


# --- as inputs ------------------------------------------------------------------------------------


def test_a_run_is_given_the_value_of_an_artifact(arts):
    found = artifacts.publish(np.arange(20_000), "numbers")
    by_name = perdure.run(arts.total, found, factor=2)
    assert by_name.result(60) == 2 * 199_990_000
    assert (by_name.inputs()["values"] == np.arange(20_000)).all()
    value = perdure.with_runcontext(name="value").run(arts.total, np.arange(20_000))
    same = perdure.with_runcontext(name="value").run(arts.total, found)
    assert value.result(60) == same.result(60)


def test_an_artifact_that_does_not_fit_is_refused_in_the_caller(arts):
    found = artifacts.publish("text", "numbers")
    with pytest.raises(TypeCheckError, match=r"values: expected .*ndarray, got str"):
        perdure.run(arts.total, found)


def test_a_query_is_answered_when_the_run_starts(arts):
    with pytest.raises(ArtifactNotFoundError, match="numbers@latest"):
        perdure.run(arts.newest)
    artifacts.publish(np.arange(3), "numbers")
    assert perdure.run(arts.newest).result(60) == 3
    artifacts.publish(np.arange(4), "numbers")
    assert perdure.run(arts.newest).result(60) == 6
    asked = artifacts.query("numbers", 1)
    assert perdure.run(arts.total, asked).result(60) == 3
    assert repr(asked) == "<query for numbers@1>"
    assert asked.value().tolist() == [0, 1, 2]


# --- in runs --------------------------------------------------------------------------------------


def test_a_task_publishes_and_is_remembered_as_the_publisher(arts):
    run = perdure.run(arts.publish, 5)
    assert run.result(60) == "numbers@1"
    found = artifacts.get("numbers@fresh")
    assert found.value().tolist() == [0, 1, 2, 3, 4]
    root = run.actions()[0]
    assert (found.run, found.action) == (run.name, root.id)


def test_async_tasks_publish_and_find_without_blocking(arts):
    assert perdure.run(arts.publish_aio, 4).result(60) == 6


def test_an_artifact_that_is_returned_arrives_as_its_value(arts):
    assert perdure.run(arts.hand_on, 3).result(60).tolist() == [0, 1, 2]


def test_a_replayed_action_publishes_nothing_and_finds_what_it_found(arts, tmp_path):
    artifacts.publish(np.arange(1), "numbers")
    path, gate = tmp_path / "notes", tmp_path / "gate"
    run = perdure.run(arts.careful, str(path), str(gate))
    with pytest.raises(RuntimeError, match="gate"):
        run.result(60)
    artifacts.publish(np.arange(2), "numbers")
    artifacts.publish("something else", "steps")
    gate.touch()
    assert perdure.resume(run.name).result(60) == ["steps@1", "numbers@1"]
    assert path.read_text() == "numbers@1\n" * 2
    assert [each.label for each in artifacts.list("steps")] == ["steps@2", "steps@1"]
    assert perdure.rerun(run.name).result(60) == ["steps@1", "numbers@1"]
    assert len(artifacts.list("steps")) == 2


def test_a_step_whose_record_was_lost_publishes_nothing_new(arts, monkeypatch):
    run = perdure.run(arts.publish, 5)
    run.result(60)
    link.running().shutdown()
    artifacts.publish("something else", "numbers")
    with sqlite3.connect(link.config().journal) as db:  # as a crash before the record leaves it
        db.execute("DELETE FROM actions WHERE seq = 2")
        db.execute("UPDATE actions SET value = NULL, ended = NULL, phase = 3")
        db.execute("UPDATE runs SET phase = 8, outcome = NULL, ended = NULL")
    db.close()
    assert perdure.resume(run.name).result(60) == "numbers@1"
    assert len(artifacts.list("numbers")) == 2


def test_a_conflict_is_an_error_that_a_task_can_catch(arts):
    artifacts.publish(1, "fixed", version="1.0")
    told = perdure.run(arts.conflicting).result(60)
    assert told.startswith("artifact_conflict: fixed@1.0 was published before")
    with pytest.raises(ArtifactConflictError):
        artifacts.publish(2, "fixed", version="1.0")


def test_an_artifact_that_is_missing_is_an_error_of_the_task(arts):
    run = perdure.run(arts.missing)
    with pytest.raises(ArtifactNotFoundError, match="no artifact nothing@latest"):
        run.result(60)


def test_listing_in_a_task_is_refused(arts):
    with pytest.raises(ConfigurationError, match=r"artifacts\.list .* inside an action"):
        perdure.run(arts.looking).result(60)


def test_a_future_is_not_published():
    class Pending(perdure._api.future.ThreadFuture):  # type: ignore[name-defined]
        def __init__(self):
            self.action_id = b"f" * 16

    with pytest.raises(SerializationError, match="holds a future"):
        artifacts.publish([Pending()], "n")


def test_flytes_way_of_publishing_works(arts):
    assert perdure.run(arts.like_flyte, 7).result(60) == 7
    found = artifacts.get("weights", day="monday")
    assert (found.kind, found.value(), found.version) == ("model", 7, "1")
    assert found.metadata == {"layers": "2", "description": "small"}
    for option in ({"card": 1}, {"parents": ("1",)}):
        with pytest.raises(NotSupportedError, match=next(iter(option))):
            artifacts.Metadata(name="n", **option)
