"""``diff`` tells what was different between two runs; ``show`` where a run's code is from."""

import re
import subprocess

import pytest

FLOW = """
import perdure

env = perdure.TaskEnvironment("flow")


@env.task
def double(x: int) -> int:
    return 2 * x


@env.task
def add(x: int, y: int) -> int:
    return x + y


@env.task
def main(n: int = 2, extra: str = "a") -> int:
    futures = [double.submit(x) for x in range(n)]
    perdure.wait(futures, num_returns=n)
    return add(futures[0], futures[-1])
"""


@pytest.fixture
def flow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "flow.py"
    path.write_text(FLOW)
    return path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_runs_that_are_the_same_are_said_to_be(cli, flow):
    cli("run", "flow.py", "main", "--name", "a")
    cli("run", "flow.py", "main", "--name", "b")
    found = cli.json("diff", "a", "b")
    assert found["same"] is True
    assert (found["inputs"], found["code"], found["environment"]) == ({}, [], [])
    assert (found["results"], found["first"], found["commits"]) == (None, None, None)
    assert [each["task"] for each in found["durations"]] == ["flow.add", "flow.double", "flow.main"]
    shown = cli("diff", "a", "b").stdout
    assert "code, inputs, packages and results" in shown
    assert "whole run" in shown


def test_inputs_code_and_results_that_differ_are_named(cli, flow):
    cli("run", "flow.py", "main", "--name", "a", "--extra", "x")
    edit(flow, "return 2 * x", "return 3 * x  # faster")
    cli("run", "flow.py", "main", "--name", "b")
    found = cli.json("diff", "a", "b")
    assert found["same"] is False
    assert found["inputs"] == {"extra": ["'x'", "'a'"]}
    assert found["code"] == ["flow.py: double"]
    assert found["results"] == ["2", "3"]
    # The cause, not its consequences: double(1) came out differently before add and main did.
    first = found["first"]
    assert all(first.pop("numbers"))
    assert first == {
        "task": "flow.double",
        "kind": "result",
        "inputs": ["{'x': 1}", "{'x': 1}"],
        "outcomes": ["2", "3"],
    }
    assert found["actions"] == 3
    shown = cli("diff", "a", "b").stdout
    assert "flow.py: double" in shown
    assert "flow.double: the same call, another outcome (of 3)" in shown
    code = cli("diff", "a", "b", "--code").stdout
    assert code.startswith("--- a/flow.py\n+++ b/flow.py\n")
    assert "-    return 2 * x\n+    return 3 * x  # faster\n" in code


def test_calls_that_only_one_run_made_are_found(cli, flow):
    cli("run", "flow.py", "main", "--name", "a")
    cli("run", "flow.py", "main", "--name", "b", "--n", "3")
    first = cli.json("diff", "a", "b")["first"]
    assert (first["task"], first["kind"]) == ("flow.double", "missing")
    assert first["numbers"][0] is None
    assert first["inputs"] == [None, "{'x': 2}"]
    cli("run", "flow.py", "add", "--x", "1", "--y", "2", "--name", "c")
    assert cli.json("diff", "a", "c")["tasks"] == ["flow.main", "flow.add"]
    cli("diff", "a", "nix", code=3)


def test_calls_with_other_inputs_are_put_side_by_side(cli, flow):
    cli("run", "flow.py", "main", "--name", "a")
    edit(flow, "double.submit(x)", "double.submit(x + 1)")
    cli("run", "flow.py", "main", "--name", "b")
    found = cli.json("diff", "a", "b")
    assert found["first"]["kind"] == "inputs"
    assert found["first"]["inputs"] == ["{'x': 0}", "{'x': 2}"]


def test_failures_are_compared_too(cli, flow):
    cli("run", "flow.py", "main", "--name", "a")
    edit(flow, "return x + y", 'raise ValueError("no")')
    cli("run", "flow.py", "main", "--name", "b", code=1)
    found = cli.json("diff", "a", "b")
    assert found["phases"] == ["succeeded", "failed"]
    assert found["results"] == ["2", "ValueError: no"]
    assert found["first"]["outcomes"] == ["2", "ValueError: no"]


def test_show_tells_commit_uncommitted_files_and_packages(cli, flow, tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=x", "-c", "user.email=x@x")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    cli("run", "flow.py", "main", "--name", "before")
    git("init", "-q", "-b", "trunk")
    git("add", "flow.py")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "HEAD")
    cli("run", "flow.py", "main", "--name", "clean")
    edit(flow, "2 * x", "2 * x + 0")
    cli("run", "flow.py", "main", "--name", "edited")
    git("commit", "-q", "-a", "-m", "second")  # what differed then still does

    assert cli.json("show", "before")["code"]["commit"] == ""
    assert "commit" not in cli("show", "before").stdout
    code = cli.json("show", "clean")["code"]
    assert (code["commit"], code["branch"], code["uncommitted"]) == (head, "trunk", [])
    assert code["repository"] == str(tmp_path)
    assert code["files"] == [str(flow)]
    assert code["packages"]["click"]
    assert cli.json("show", "edited")["code"]["uncommitted"] == ["flow.py"]
    shown = cli("show", "edited", "--packages").stdout
    assert f"{head[:12]} on trunk" in shown
    assert re.search(r"uncommitted +flow\.py\n", shown)
    assert f"click {code['packages']['click']}" in shown
