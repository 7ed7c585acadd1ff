"""OpenLineage events: what is told, to whom, and that nothing depends on it."""

import http.server
import importlib
import json
import os
import sys
import threading
import uuid
from collections import Counter
from pathlib import Path
from typing import ClassVar

import jsonschema
import pandas as pd
import psutil
import pytest

import perdure
from perdure._openlineage import setting
from perdure.client import link
from perdure.errors import ConfigurationError

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)

TASKS = '''
from pathlib import Path

import pandas as pd

import perdure

env = perdure.TaskEnvironment("told")


@env.task
def load(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"a": range(rows), "b": 0.5})


@env.task
def count(table: pd.DataFrame) -> int:
    """Count the rows."""
    return len(table)


@env.task
def broken() -> None:
    raise KeyError("month")


@env.task
def main(rows: int = 20_000, fail: bool = False) -> int:
    table = load(rows)
    perdure.artifacts.publish(table, "tables", kind="dataset")
    counted = count(table)
    if fail:
        broken()
    return counted


@env.task
def consume() -> int:
    return count(perdure.artifacts.get("tables"))


@env.task
def enter(gate: str) -> None:
    if not Path(gate).exists():
        raise RuntimeError("closed")


@env.task
def gated(gate: str) -> int:
    counted = count(load(10))
    enter(gate)
    return counted
'''


@pytest.fixture
def told(tmp_path, monkeypatch):
    """A module with tasks."""
    (tmp_path / "told_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module("told_tasks")
    del sys.modules["told_tasks"]


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """An empty home, and no runtime before and after the test."""
    stop()
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERDURE_DURABILITY", "process")
    yield
    stop()


@pytest.fixture
def log(monkeypatch, tmp_path):
    """The file to which events go."""
    path = tmp_path / "events" / "events.jsonl"
    monkeypatch.setenv("PERDURE_OPENLINEAGE", str(path))
    return path


def stop():
    """End the runtime as a process that ends does."""
    if (runtime := link.running()) is not None:
        runtime.shutdown()


def events(log, job=None):
    """End the runtime; return what was told, each event checked against the schema."""
    stop()
    found = [json.loads(line) for line in log.read_text().splitlines()]
    for event in found:
        VALIDATOR.validate(event)
    return [each for each in found if job in (None, each["job"]["name"])]


def names(datasets):
    return [each["name"].partition("/")[0] for each in datasets]


def test_a_run_and_its_actions_are_told_with_what_they_read_and_made(told, log):
    perdure.run(told.main).result(60)
    found = events(log)
    assert Counter((each["job"]["name"], each["eventType"]) for each in found) == {
        (f"told.{task}", state): 1
        for task in ("main", "load", "count")
        for state in ("START", "COMPLETE")
    }
    assert len({each["run"]["runId"] for each in found}) == 3
    made = events(log, "told.load")[-1]["outputs"]
    read = events(log, "told.count")[-1]["inputs"]
    assert [each["name"] for each in made] == [each["name"] for each in read]
    fields = made[0]["facets"]["schema"]["fields"]
    assert [(each["name"], each["type"]) for each in fields] == [("a", "int64"), ("b", "float64")]
    root = events(log, "told.main")[-1]
    assert names(root["inputs"]) == ["values"]
    assert [each["name"] for each in root["outputs"]] == ["artifacts/tables"]
    assert root["outputs"][0]["facets"]["version"]["datasetVersion"] == "1"
    assert root["outputs"][0]["facets"]["schema"]["fields"] == fields


def test_actions_name_their_parent_and_their_source(told, log):
    perdure.run(told.main).result(60)
    root, count = events(log, "told.main")[0], events(log, "told.count")[0]
    parent = count["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == parent["root"]["run"]["runId"] == root["run"]["runId"]
    assert parent["job"]["name"] == parent["root"]["job"]["name"] == "told.main"
    assert "parent" not in root["run"]["facets"]
    source = count["job"]["facets"]["sourceCode"]
    assert source["language"] == "python"
    assert source["sourceCode"].startswith("def count(table")


def test_another_run_reads_the_artifact_by_its_name(told, log):
    perdure.run(told.main).result(60)
    perdure.run(told.consume).result(60)
    root = events(log, "told.consume")[-1]
    assert [each["name"] for each in root["inputs"]] == ["artifacts/tables"]
    assert root["inputs"][0]["facets"]["version"]["datasetVersion"] == "1"
    assert names(events(log, "told.count")[-1]["inputs"]) == ["artifacts"]


def test_failures_are_told_with_their_tracebacks(told, log):
    run = perdure.run(told.main, fail=True)
    with pytest.raises(KeyError):
        run.result(60)
    for job in ("told.broken", "told.main"):
        last = events(log, job)[-1]
        assert last["eventType"] == "FAIL"
        error = last["run"]["facets"]["errorMessage"]
        assert error["message"] == "builtins.KeyError: 'month'"
        assert 'raise KeyError("month")' in error["stackTrace"]


def test_a_resumed_run_is_told_as_another_try(told, log, tmp_path):
    run = perdure.run(told.gated, str(tmp_path / "gate"))
    with pytest.raises(RuntimeError):
        run.result(60)
    stop()
    (tmp_path / "gate").touch()
    perdure.resume(run.name).result(60)
    tries = events(log, "told.gated")
    assert [each["eventType"] for each in tries] == ["START", "FAIL", "START", "COMPLETE"]
    first, last = tries[0]["run"]["runId"], tries[-1]["run"]["runId"]
    assert [each["run"]["runId"] for each in tries] == [first, first, last, last]
    assert first != last
    assert len(events(log, "told.load")) == 2  # what is recorded is not told again
    again = events(log, "told.enter")
    assert [each["eventType"] for each in again] == ["START", "FAIL", "START", "COMPLETE"]
    parents = [each["run"]["facets"]["parent"]["run"]["runId"] for each in again]
    assert parents == [first, first, last, last]
    assert len({each["run"]["runId"] for each in again}) == 2


def test_a_run_that_is_stopped_is_told_as_aborted(told, log, tmp_path, monkeypatch):
    held = tmp_path / "held.py"
    held.write_text(
        "import perdure\nenv = perdure.TaskEnvironment('held')\n\n\n@env.task\n"
        "def hold() -> None:\n    perdure.durable.sleep(1000)\n"
    )
    importlib.invalidate_caches()
    module = importlib.import_module("held")
    perdure.run(module.hold)
    assert [each["eventType"] for each in events(log)] == ["START", "ABORT"]
    del sys.modules["held"]


def test_ids_are_valid_and_the_same_however_often_they_are_derived(told, log):
    perdure.run(told.main).result(60)
    for each in events(log):
        assert uuid.UUID(each["run"]["runId"]).version == 5


# --- where they go --------------------------------------------------------------------------------


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Takes events; accepts them all."""

    received: ClassVar[list[tuple[str, dict]]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, json.loads(body)))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def endpoint():
    """An HTTP endpoint."""
    handler = type("Handler", (Endpoint,), {"received": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("variable", ["PERDURE_OPENLINEAGE", "OPENLINEAGE_URL"])
def test_events_go_to_an_http_endpoint(told, endpoint, monkeypatch, variable):
    handler, url = endpoint
    monkeypatch.setenv(variable, url)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # the library adds variables of its own
    perdure.run(told.count, pd.DataFrame({"a": [1]})).result(60)
    stop()
    assert [path for path, _ in handler.received] == ["/api/v1/lineage"] * 2
    assert [event["eventType"] for _, event in handler.received] == ["START", "COMPLETE"]


def test_a_failure_to_send_is_told_once_and_fails_no_run(told, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PERDURE_OPENLINEAGE", str(tmp_path / "file" / "below"))
    assert perdure.run(told.main).result(60) == 20_000
    stop()
    assert capsys.readouterr().err.count("OpenLineage events cannot be sent") == 1


def test_nothing_is_emitted_unless_it_is_asked_for(told, monkeypatch, tmp_path):
    perdure.run(told.count, pd.DataFrame({"a": [1]})).result(60)
    assert not [t for t in threading.enumerate() if t.name == "perdure-openlineage"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://host:5000", {"type": "http", "url": "http://host:5000"}),
        ("https://host/a/b", {"type": "http", "url": "https://host", "endpoint": "a/b"}),
        ("file:///tmp/x", {"type": "file", "log_file_path": "/tmp/x", "append": True}),
        ("/tmp/x", {"type": "file", "log_file_path": "/tmp/x", "append": True}),
    ],
)
def test_targets_are_understood(target, expected):
    assert setting.transport(target) == expected


def test_a_target_that_cannot_be_reached_that_way_is_refused():
    with pytest.raises(ConfigurationError, match="by kafka"):
        setting.transport("kafka://host")


def open_below(folder):
    return [f.path for f in psutil.Process().open_files() if Path(f.path).is_relative_to(folder)]


def test_a_missing_library_is_told_when_events_are_asked_for(told, log, monkeypatch):
    monkeypatch.setattr(setting, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="openlineage-python is not installed"):
        perdure.run(told.main)
    assert not open_below(link.config().home)  # nothing of the runtime is left
    monkeypatch.delenv("PERDURE_OPENLINEAGE")
    monkeypatch.setenv("OPENLINEAGE_URL", "http://other-programs")
    assert not setting.is_wanted("")
