"""``perdure debug`` executes one action again under pdb, with its recorded inputs and code."""

import os
import pty
import subprocess
import sys

import pytest

from perdure._views.sqlite import SqliteViews
from perdure.config import Config

FLOW = """
import asyncio

import perdure

env = perdure.TaskEnvironment("flow")


def helper(x):
    return x + 1


@env.task
def double(x: int) -> int:
    print("doubling", x)
    return 2 * x


@env.task
def consume(x: int, ok: bool = True) -> int:
    perdure.durable.sleep(0)
    if not ok:
        raise ValueError(f"no {x}")
    return helper(x)


@perdure.trace
def step(x):
    return x + 100


@env.task
def main(ok: bool = True) -> int:
    first = double(1)
    total = step(first) + consume(double.submit(3), ok)
    return total


warm = perdure.TaskEnvironment("warm", secrets="flow-token")


@warm.on_start
def load() -> list[int]:
    return [1, 2, 3]


@warm.task
def stateful(x: int) -> int:
    import os

    return perdure.ctx().state[x] + len(os.environ["FLOW_TOKEN"])


@env.task
async def gathered(n: int = 2) -> list[int]:
    values = await asyncio.gather(*(double.aio(x) for x in range(n)))
    return [await consume.aio(double.submit(7)), *values]
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


def debug(name, action, commands, code=0):
    """Return what is printed when these commands are typed, one by one."""
    done = subprocess.run(
        [sys.executable, "-m", "perdure", "debug", name, str(action)],
        input="\n".join(commands) + "\n",
        capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def actions(name):
    views = SqliteViews(Config().checked().journal)
    run = views.run(name)
    found = list(views.tree(run.row.key))
    views.close()
    return found


def number(name, task):
    """Return the number of the first action of a task."""
    return next(each.seq for each in actions(name) if each.task == task)


def test_it_stops_at_the_first_line_with_recorded_inputs_and_answers_calls(cli, flow):
    cli("run", "flow.py", "main", "--name", "r")
    said = debug("r", 1, ["p ok", "n", "p ('first is', first)", "c"])
    assert "flow.main #1 of r, with recorded inputs and code" in said
    assert "-> first = double(1)" in said
    assert "('first is', 2)" in said
    assert "doubling" not in said  # answered from the record
    assert "returned: 109" in said


def test_the_code_is_that_of_the_run(cli, flow):
    cli("run", "flow.py", "main", "--name", "r")
    edit(flow, "return x + 1\n", "return x - 1\n")
    edit(flow, "    print", "    print('now')\n    print")
    consume = number("r", "flow.consume")
    said = debug("r", consume, ["p x", "b helper", "c", "l .", "c"])
    assert "now" not in said
    assert "return x + 1" in said
    assert "returned: 7" in said
    assert "doubling 1" in debug("r", number("r", "flow.double"), ["c"])


def test_calls_that_are_not_recorded_are_executed_here(cli, flow):
    cli("run", "flow.py", "main", "--name", "r")
    said = debug("r", 1, ["ok = ok", "n", "first = 5", "n", "p ('total', total)", "c"])
    assert "('total', 112)" in said
    assert "doubling" not in said
    said = debug("r", 1, ["import flow_missing", "p double(20)", "c"])
    assert "doubling 20" in said
    assert "40" in said


def test_async_tasks_stop_in_their_function_too(cli, flow):
    cli("run", "flow.py", "gathered", "--name", "r")
    said = debug("r", 1, ["n", "p ('values', values)", "c"])
    assert "-> values = await asyncio.gather" in said
    assert "('values', [0, 2])" in said
    assert "doubling" not in said
    assert "returned: [15, 0, 2]" in said


def test_async_calls_that_are_not_recorded_are_executed_on_the_loop(cli, flow):
    cli("run", "flow.py", "gathered", "--name", "r")
    said = debug("r", 1, ["!n = 4", "c"])
    assert said.count("doubling") == 2
    assert "returned: [15, 0, 2, 4, 6]" in said


def test_a_failure_can_be_looked_at_where_it_happened(cli, flow):
    cli("run", "flow.py", "main", "--no-ok", "--name", "r", code=1)
    consume = number("r", "flow.consume")
    said = debug("r", consume, ["c", "p ('x is', x)", "q"], code=1)
    assert "recorded: ValueError: no 6" in said
    assert "('x is', 6)" in said
    # The parent gets it from the record, as it did.
    said = debug("r", 1, ["c", "q"], code=1)
    assert "ValueError: no 6" in said


def test_leaving_is_no_failure(cli, flow):
    cli("run", "flow.py", "main", "--name", "r")
    assert "returned" not in debug("r", 1, ["q"])


def test_what_is_no_task_is_refused_with_what_to_debug_instead(cli, flow):
    cli("run", "flow.py", "main", "--name", "r")
    step = next(each.seq for each in actions("r") if each.kind == "trace")
    assert "perdure debug r 1" in cli("debug", "r", step, code=2).stderr
    cli("debug", "r", "99", code=3)
    cli("debug", "nix", "1", code=3)


def test_it_works_in_a_terminal(cli, flow):
    cli("run", "flow.py", "main", "--name", "r")
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "perdure", "debug", "r", "1"],
        stdin=child, stdout=child, stderr=child, close_fds=True,
    ) as process:  # fmt: skip
        os.close(child)
        said = b""
        while b"(Pdb)" not in said:
            said += os.read(parent, 4096)
        os.write(parent, b"c\n")
        while b"returned: 109" not in said:
            said += os.read(parent, 4096)
        assert process.wait(60) == 0
    os.close(parent)


def test_secrets_and_what_is_started_up_are_there(cli, flow, monkeypatch):
    monkeypatch.setenv("FLOW_TOKEN", "sesame")
    cli("run", "flow.py", "stateful", "--x", "1", "--name", "r")
    monkeypatch.delenv("FLOW_TOKEN")
    assert "no secret 'flow-token'" in debug("r", 1, [], code=3)
    (flow.parent / ".env").write_text("FLOW_TOKEN=open sesame")
    assert "returned: 13" in debug("r", 1, ["c"])
