"""Where values came from and where they went: across tasks, runs and artifacts."""

import importlib
import itertools
import sqlite3
import sys

import pytest

import perdure
from perdure import artifacts
from perdure.client import lineage, link
from perdure.client.lineage import Edge, Graph
from perdure.errors import RunNotFoundError

TASKS = """
import asyncio

import numpy as np

import perdure
from perdure import artifacts

env = perdure.TaskEnvironment("line")


@env.task
def load(month: int) -> np.ndarray:
    return np.arange(10_000) * month


@env.task
def fit(arrays: list[np.ndarray]) -> float:
    return float(sum(each.sum() for each in arrays))


@env.task
def show(model: float) -> str:
    return str(model)


@env.task
async def main(months: list[int]) -> str:
    arrays = await asyncio.gather(*(load.aio(month) for month in months))
    model = fit.submit(arrays)
    text = show.submit(model)
    await artifacts.publish.aio(await model, "model", kind="model")
    await artifacts.publish.aio(arrays[0], "first")
    return await text


@env.task
def score(model: float, data: np.ndarray) -> np.ndarray:
    return data * model


@env.task
def best() -> np.ndarray:
    return score(artifacts.get("model"), artifacts.get("first"))


@env.task
def passed_on(size: int) -> np.ndarray:
    return same(load(size))


@env.task
def same(data: np.ndarray) -> np.ndarray:
    return data


@perdure.trace
def step(size: int) -> np.ndarray:
    return np.arange(size)


@env.task
def stepping(size: int) -> int:
    return length(step(size))


@env.task
def length(data: np.ndarray) -> int:
    return len(data)


@env.task
def many(count: int) -> int:
    return sum(perdure.map(length, [np.arange(10_000) + n for n in range(count)]))


@env.task
def longest(texts: list[str]) -> int:
    return max(map(len, texts))


@env.task
def read(data: np.ndarray) -> int:
    return len(data)


@env.task(cache="auto")
def slow(size: int) -> int:
    return size * 2


@env.task
def twice(size: int) -> int:
    return slow(size) + slow(size + 1)


@env.task(cache="auto")
def kept(size: int) -> np.ndarray:
    return np.arange(size)


@env.task
def keeping(size: int) -> int:
    return length(kept(size))
"""

_numbers = itertools.count()


@pytest.fixture
def line(tmp_path, monkeypatch):
    """A module with tasks, new for every test."""
    name = f"line_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module(name)
    del sys.modules[name]


def do(task, *args, name, **kwargs):
    """Do a run of that name to its end."""
    return perdure.with_runcontext(name=name).run(task, *args, **kwargs).result(60)


def drawn(graph: Graph) -> set[str]:
    """Return the edges by what people see of their nodes."""

    def shown(node: str) -> str:
        found = graph.nodes[node]
        count = f" x {found.count}" if found.count > 1 else ""
        return f"{found.label}{count}"

    return {f"{shown(e.source)} {e.kind} {shown(e.target)}" for e in graph.edges}


def asked(name: str, **options) -> Graph:
    """Ask about a version of an artifact."""
    return lineage.of_artifact(artifacts.get(name)._row, **options)


def test_tasks_of_a_run_are_connected_by_values_calls_and_futures(line):
    do(line.main, months=[1, 2, 3], name="one")
    graph = lineage.of_run("one")
    array = "ndarray int64 (10000,)"
    assert graph.start == ["task:one/line.main"]
    assert drawn(graph) == {
        "line.main called line.load x 3", "line.main called line.fit",
        "line.main called line.show", "line.fit passed line.show",
        f"line.load x 3 made {array}", f"line.load x 3 made {array} x 2",
        f"{array} read line.fit", f"{array} x 2 read line.fit",
        f"{array} part first@1", "line.main published first@1",
        "line.main published model@1",
    }  # fmt: skip
    assert graph.nodes["task:one/line.load"].note == "3 succeeded"
    assert graph.complete


def test_an_artifact_leads_upstream_to_what_it_was_made_of(line):
    do(line.main, months=[1, 2], name="one")
    do(line.best, name="two")
    graph = asked("model", down=False)
    assert graph.start == ["artifact:model@1"]
    assert list(graph.tasks) == ["one"]
    assert Edge("task:one/line.main", "artifact:model@1", "published") in graph.edges


def test_an_artifact_leads_downstream_to_who_used_it(line):
    do(line.main, months=[1, 2], name="one")
    do(line.best, name="two")
    do(line.score, artifacts.get("model"), artifacts.get("first"), name="three")
    graph = asked("model", up=False)
    assert list(graph.tasks) == ["two", "three"]
    for user in ("task:two/line.best", "task:two/line.score", "task:three/line.score"):
        assert Edge("artifact:model@1", user, "used") in graph.edges
    assert not any(edge.kind == "published" for edge in graph.edges)


def test_versions_of_the_same_content_are_told_apart(line):
    artifacts.publish(1.5, "mine")
    artifacts.publish(1.5, "yours")
    do(line.show, artifacts.get("yours"), name="one")
    assert not asked("mine").tasks
    assert list(asked("yours").tasks) == ["one"]


def test_runs_are_connected_by_values_that_went_through_the_driver(line):
    made = do(line.load, 5, name="one")
    do(line.read, made, name="two")
    expected = {
        "line.load made ndarray int64 (10000,)", "ndarray int64 (10000,) read line.read",
    }  # fmt: skip
    assert drawn(lineage.of_run("two", down=False)) == expected
    assert drawn(lineage.of_run("one", up=False)) == expected
    assert list(lineage.of_run("two", up=False).tasks) == ["two"]
    assert list(lineage.of_run("one", down=False).tasks) == ["one"]


def test_what_two_runs_made_alike_is_of_the_first(line):
    do(line.load, 5, name="one")
    made = do(line.load, 5, name="two")
    do(line.read, made, name="three")
    assert list(lineage.of_run("one", up=False).tasks) == ["one", "three"]
    assert list(lineage.of_run("two", up=False).tasks) == ["two"]
    assert list(lineage.of_run("three", down=False).tasks) == ["three", "one"]


def test_an_artifact_published_by_a_script_leads_to_the_run_that_made_it(line):
    artifacts.publish(do(line.load, 5, name="one"), "first")
    graph = asked("first")
    assert Edge("task:one/line.load", "artifact:first@1", "made") in graph.edges


def test_what_is_passed_on_is_made_by_its_maker(line):
    do(line.passed_on, 3, name="one")
    graph = lineage.of_run("one")
    makers = [edge.source for edge in graph.edges if edge.kind == "made"]
    assert makers == ["task:one/line.load"]


def test_steps_make_values_too(line):
    do(line.stepping, 10_000, name="one")
    assert "step made ndarray int64 (10000,)" in {
        text.rpartition("line_")[2].partition(".")[2] or text
        for text in drawn(lineage.of_run("one"))
    }


def test_inputs_that_fill_a_blob_together_are_no_value(line):
    do(line.longest, ["x" * 1000] * 100, name="two")
    assert set(lineage.of_run("two").nodes) == {"task:two/line.longest"}


def test_a_hundred_calls_are_one_node(line):
    do(line.many, 100, name="one")
    graph = lineage.of_run("one")
    assert {node.label: node.count for node in graph.nodes.values()} == {
        "line.many": 1, "line.length": 100, "ndarray int64 (10000,)": 100,
    }  # fmt: skip
    assert len(graph.edges) == 2


def test_a_rerun_leads_to_the_run_it_took_results_from(line):
    do(line.load, 5, name="one")
    again = perdure.rerun("one")
    again.result(60)
    edge = Edge("task:one/line.load", f"task:{again.name}/line.load", "rerun")
    assert edge in lineage.of_run("one", up=False).edges
    assert edge in lineage.of_run(again.name, down=False).edges


def test_the_cache_leads_to_the_run_that_made_a_value(line):
    do(line.twice, 1, name="one")
    do(line.twice, 2, name="two")
    edge = Edge("task:one/line.slow", "task:two/line.slow", "cached")
    assert edge in lineage.of_run("two", down=False).edges
    assert edge in lineage.of_run("one", up=False).edges
    assert list(lineage.of_run("one", down=False).tasks) == ["one"]
    assert list(lineage.of_run("two", up=False).tasks) == ["two"]


def test_what_comes_from_the_cache_is_made_by_who_made_it_then(line):
    do(line.keeping, 10_000, name="one")
    do(line.keeping, 10_000, name="two")
    graph = lineage.of_run("two", down=False)
    makers = [edge.source for edge in graph.edges if edge.kind == "made"]
    assert makers == ["task:one/line.kept"]


def test_an_artifact_that_several_runs_came_to_was_made_by_the_first(line):
    for name in ("one", "two"):
        do(line.main, months=[1, 2], name=name)
    assert list(asked("model", down=False).tasks) == ["one"]


def test_depth_limits_how_many_runs_away_is_looked(line):
    value = do(line.load, 1, name="r0")
    for number in range(1, 4):
        value = do(line.score, 2.0, value, name=f"r{number}")
    assert len(lineage.of_run("r3").tasks) == 4
    near = lineage.of_run("r3", depth=1)
    assert list(near.tasks) == ["r3", "r2"]
    assert not near.complete
    assert list(lineage.of_run("r0", depth=2).tasks) == ["r0", "r1", "r2"]


def test_a_run_that_is_gone_is_still_the_publisher(line):
    do(line.main, months=[1], name="one")
    link.running().shutdown()
    with sqlite3.connect(link.config().journal) as db:
        db.execute("DELETE FROM runs")
    db.close()
    graph = asked("model")
    assert graph.nodes["artifact:model@1"].label == "model@1"
    with pytest.raises(RunNotFoundError):
        lineage.of_run("one")
