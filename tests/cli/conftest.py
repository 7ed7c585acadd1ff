"""A home of its own for every test, a pipeline to run, and the command line as users start it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

PIPELINE = '''
"""A small pipeline."""

import enum
import time
from pathlib import Path

import perdure

env = perdure.TaskEnvironment("demo")


class Kind(enum.Enum):
    PLAIN = "plain"
    FANCY = "fancy"


@env.task
def square(x: int) -> int:
    print(f"squaring {x}")
    return x * x


@env.task
def broken(x: int) -> int:
    raise KeyError(f"no {x}")


@env.task
def hold(gate: str) -> str:
    while not Path(gate).exists():
        time.sleep(0.01)
    return "open"


@env.task
def main(n: int = 3, kind: Kind = Kind.PLAIN, fail: bool = False) -> dict[str, object]:
    """Square a few numbers.

    Args:
        n: How many.
        kind: Which kind.
        fail: Whether to fail at the end.
    """
    squares = list(perdure.map(square, range(n)))
    if fail:
        broken(n)
    return {"squares": squares, "kind": kind.value}


@env.task
def gated(gate: str, n: int = 3) -> int:
    total = sum(perdure.map(square, range(n)))
    hold(gate)
    return total


if __name__ == "__main__":
    raise SystemExit("perdure run must not execute this")
'''


@pytest.fixture(autouse=True)
def environment_is_put_back():
    """What the command line sets for its process is not for the tests that come after."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """An empty home."""
    folder = tmp_path / "home"
    monkeypatch.setenv("PERDURE_HOME", str(folder))
    monkeypatch.setenv("PERDURE_DURABILITY", "process")
    monkeypatch.delenv("PERDURE_DEBUG", raising=False)
    return folder


@pytest.fixture
def pipeline(tmp_path) -> Path:
    """The file of a pipeline."""
    path = tmp_path / "pipeline.py"
    path.write_text(PIPELINE)
    return path


class Cli:
    """Starts ``perdure`` as a process of its own."""

    command = (sys.executable, "-m", "perdure")

    def __call__(self, *arguments, code=0):
        done = subprocess.run(
            [*self.command, *map(str, arguments)],
            capture_output=True, text=True, check=False, timeout=60,
            stdin=subprocess.DEVNULL, env=os.environ | {"PYTHONWARNINGS": "error"},
        )  # fmt: skip
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments, code=0):
        """Return the one JSON document on stdout."""
        return json.loads(self(*arguments, "--json", code=code).stdout)


@pytest.fixture
def cli() -> Cli:
    return Cli()
