"""A run that waits for an answer, killed; and answers from other processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from real.processes import of_home, until, wait_gone

FLOW = """
import enum

import perdure

env = perdure.TaskEnvironment("flow")


class Decision(enum.Enum):
    SHIP = 1
    HOLD = 2


@env.task
def train() -> float:
    return 0.93


@env.task
def main() -> list[object]:
    accuracy = train()
    approved = perdure.new_condition("approve", f"Publish the model? {accuracy}").wait()
    decision = perdure.new_condition("decide", data_type=Decision).wait()
    return [accuracy, approved, decision.name]
"""


class Home:
    """A home, a flow, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "home"
        self.env = os.environ | {"PERDURE_HOME": str(self.path), "PYTHONWARNINGS": "error"}
        (folder / "flow.py").write_text(FLOW)
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-m", "perdure", *arguments],
            cwd=self._folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def perdure(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "perdure", *arguments],
            cwd=self._folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def asks(self, name: str) -> bool:
        """Whether the run waits for the answer to this."""
        shown = subprocess.run(
            [sys.executable, "-m", "perdure", "show", "r", "--json"],
            cwd=self._folder, env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        document = json.loads(shown.stdout)
        found = [each["name"] for each in document.get("conditions", ())]
        return found == [name] and document["phase"] == "waiting"

    def kill(self, driver: "subprocess.Popen[bytes]") -> None:
        driver.send_signal(signal.SIGKILL)
        driver.wait(60)
        assert wait_gone(of_home(self.path)) == []

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait(60)
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.close()


def test_p3_a_run_that_is_killed_while_it_waits_goes_on_waiting_and_loses_no_answer(
    home: Home,
) -> None:
    first = home.start("run", "flow.py:main", "--name", "r")
    until(lambda: home.asks("approve"))
    home.kill(first)
    second = home.start("resume", "r", "--json")
    until(lambda: home.asks("approve"))
    assert "answered approve (#3) of r with yes" in home.perdure("signal", "r", "approve", "yes")
    until(lambda: home.asks("decide"))
    home.kill(second)
    assert "SHIP|HOLD" in home.perdure("show", "r")
    told = json.loads(home.perdure("signal", "r", "decide", "hold", "--json"))
    assert told == {"name": "r", "condition": "decide", "action": 4, "value": "Decision.HOLD"}
    home.perdure("signal", "r", "decide", "ship", code=2)
    third = home.start("resume", "r", "--json")
    out, _ = third.communicate(timeout=120)
    assert json.loads(out)["result"] == [0.93, True, "HOLD"]
