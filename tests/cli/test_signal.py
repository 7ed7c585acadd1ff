"""Answering from the command line: what is shown, what is refused."""

import subprocess
import sys
import time

import pytest

FLOW = """
import perdure

env = perdure.TaskEnvironment("flow")


@env.task
def main() -> int:
    try:
        perdure.new_condition("go on", "Go on?", description="It costs 3 EUR").wait()
    except perdure.errors.ConditionFailedError as error:
        print(error.message)
    return perdure.new_condition("how many", "How many?", data_type=int).wait()
"""


@pytest.fixture
def waiting(tmp_path, cli):
    """A run, called r, that waits."""
    path = tmp_path / "flow.py"
    path.write_text(FLOW)
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "perdure", "run", str(path), "--name", "r"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    process.log = tmp_path / "log"
    yield process
    if process.poll() is None:
        process.terminate()
    process.wait(60)
    log.close()


def until_it_says(process, text):
    deadline = time.monotonic() + 60
    while text not in process.log.read_text():
        assert time.monotonic() < deadline, process.log.read_text()
        time.sleep(0.02)


def test_who_waits_says_how_to_answer_and_takes_the_answer(waiting, cli):
    until_it_says(waiting, "r: waits for an answer: Go on? perdure signal r 'go on' true|false")
    shown = cli("show", "r").stdout
    assert "waits for   go on: Go on?" in shown
    assert "It costs 3 EUR" in shown
    assert "answer      perdure signal r 'go on' true|false" in shown
    assert "◌ #2 go on Go on?" in shown or ". #2 go on Go on?" in shown
    assert [each["phase"] for each in cli.json("ls", "--phase", "waiting")] == ["waiting"]
    assert "give a VALUE" in cli("signal", "r", "go on", code=2).stderr
    assert (
        "'maybe' is neither true nor false" in cli("signal", "r", "go on", "maybe", code=2).stderr
    )
    document = cli.json("signal", "r", "how many", "3", code=3)
    assert document["code"] == "condition_not_found"
    assert "with an error" in cli("signal", "r", "go on", "--fail", "too dear").stdout
    until_it_says(waiting, "perdure signal r 'how many' int")
    told = cli.json("signal", "r", "3", "-5")
    assert told == {"name": "r", "condition": "how many", "action": 3, "value": -5}
    assert waiting.wait(60) == 0
    assert "too dear" in waiting.log.read_text() or "too dear" in cli("logs", "r").stdout
    assert "#3: answered by" in cli("show", "r").stdout
