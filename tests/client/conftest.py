"""A home, a module with tasks, and a runtime that ends with the test."""

import importlib
import itertools
import sys

import pytest

from perdure.client import link

JOBS = """
import os
import time
from pathlib import Path

import perdure

env = perdure.TaskEnvironment("jobs")


class Broken(Exception):
    pass


@env.task
def add(a: int, b: int = 1) -> int:
    return a + b


@env.task
def note(path: str, text: str) -> str:
    with open(path, "a") as file:
        file.write(text + "\\n")
    return text


@env.task
def fragile(gate: str) -> str:
    if not Path(gate).exists():
        raise Broken("the gate is closed")
    return "through"


@env.task
def careful(path: str, gate: str) -> str:
    note(path, "noted")
    return fragile(gate)


@env.task
def hold(path: str, gate: str) -> str:
    note(path, "noted")
    Path(path + ".held").touch()
    while not Path(gate).exists():
        time.sleep(0.01)
    return "done"


@env.task
def surroundings() -> list[object]:
    return [os.environ.get("COLOUR"), dict(perdure.ctx().custom_context)]


@env.task
def outer() -> list[object]:
    return surroundings()


@env.task
def nested() -> str:
    try:
        perdure.run(add, 1)
    except perdure.errors.ConfigurationError as error:
        return str(error)
    return "started"
"""

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """An empty home, and no runtime before and after the test."""
    folder = tmp_path / "home"
    monkeypatch.setenv("PERDURE_HOME", str(folder))
    monkeypatch.setenv("PERDURE_DURABILITY", "process")
    yield folder
    if (runtime := link.running()) is not None:
        runtime.shutdown()


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """A module with tasks, new for every test."""
    name = f"jobs_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module(name)
    del sys.modules[name]
