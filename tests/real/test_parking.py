"""Waiting costs nothing: what waits for long gives its process back, and goes on after it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import perdure
from perdure import _embedded, errors
from perdure._embedded import Runtime
from perdure.config import Config
from real.processes import of_home, until, wait_gone, workers
from real.programs import sleepers

LONG = 1e6
SLEEPER = """
import sys, time
from pathlib import Path

import perdure
from real.programs import sleepers

if __name__ == "__main__":
    task, mark = getattr(sleepers, sys.argv[1]), Path(sys.argv[2])
    run = perdure.with_runcontext(name="nap").run(task, mark, 1e6)
    while run.phase.value != "waiting":
        time.sleep(0.01)
    print("parked", flush=True)
    sys.stdin.readline()
    raise RuntimeError("enough")
"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime that parks whatever it can at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PERDURE_PARK_AFTER", "0")
        runtime = _embedded.runtime(Config())
        yield runtime
        runtime.shutdown()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of another program, with a home of its own."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    home = str(tmp_path / "home")
    return os.environ | {"PERDURE_HOME": home, "PERDURE_PARK_AFTER": "0", "PYTHONPATH": path}


def marks(mark: Path) -> list[list[str]]:
    return [line.split() for line in mark.read_text().splitlines()] if mark.exists() else []


def told(mark: Path) -> list[str]:
    return [line[0] for line in marks(mark)]


def is_dormant(runtime: Runtime, run: perdure.Run) -> bool:
    dormant = runtime.controller.dormitory.find(run.name) is not None
    return dormant and run.phase.value == "waiting"  # and the journal says so


@pytest.mark.parametrize("task", [sleepers.ask, sleepers.ask_aio], ids=["sync", "async"])
def test_a_task_that_was_parked_is_executed_again_as_the_same_attempt(
    runtime: Runtime, mark: Path, task: perdure.Task[..., str]
) -> None:
    run = perdure.run(task, mark, "go on?")
    until(lambda: is_dormant(runtime, run))
    assert told(mark) == ["begin"]
    run.signal("go on?", "yes")
    assert run.result(timeout=60) == "yes"
    assert told(mark)[-1] == "finally"
    assert set(told(mark)[:-1]) == {"begin"}
    assert {attempt for _, _, attempt in marks(mark)} == {"0"}
    root, _ = run.actions()
    assert (root.attempts, root.losses) == (1, 0)


@pytest.mark.parametrize("task", [sleepers.sleep, sleepers.sleep_aio], ids=["sync", "async"])
def test_a_run_that_sleeps_is_parked_and_can_be_aborted(
    runtime: Runtime, mark: Path, task: perdure.Task[..., None]
) -> None:
    run = perdure.run(task, mark, LONG)
    until(lambda: is_dormant(runtime, run))
    root, nap = run.actions()
    assert root.wake_at == nap.wake_at
    assert [each.name for each in perdure.runs(phase="waiting")] == [run.name]
    if task is sleepers.sleep:
        pid = int(marks(mark)[0][1])
        until(lambda: pid not in [worker.pid for worker in workers(os.getpid())])
    run.abort()
    with pytest.raises(errors.RunAbortedError):
        run.result(timeout=60)
    assert told(mark) == ["begin"]
    assert [action.phase.value for action in run.actions()] == ["aborted", "aborted"]


def test_a_parent_of_what_is_parked_is_parked_too(runtime: Runtime, mark: Path) -> None:
    run = perdure.run(sleepers.ask_both, mark)
    until(lambda: is_dormant(runtime, run))
    assert {each.phase.value for each in run.actions()} == {"waiting"}
    run.signal("two", "second")
    run.signal("one", "first")
    assert run.result(timeout=60) == ["first", "second"]
    assert "noticed" not in told(mark)


def test_a_coroutine_with_something_to_clean_up_is_not_parked(runtime: Runtime, mark: Path) -> None:
    run = perdure.run(sleepers.ask_carefully, mark, "go on?")
    parking = runtime.controller.machine.parking
    until(lambda: any(wait.again for wait in list(parking._waits.values())))  # it has refused
    run.signal("go on?", "yes")
    assert run.result(timeout=60) == "yes"
    assert told(mark) == ["begin", "finally"]


def test_p3_what_is_parked_survives_the_death_of_its_controller(
    environ: dict[str, str], mark: Path, tmp_path: Path
) -> None:
    naps = []
    for _ in range(2):
        with _sleeping(environ, "sleep", mark) as process:
            naps.append(_shown(environ)[1])
            process.kill()
        assert not wait_gone(of_home(tmp_path / "home"))
    assert naps[0]["wake_at"] == naps[1]["wake_at"], "no crash moves the end of a sleep"
    assert set(told(mark)) == {"begin"}


def test_a_program_that_is_stopped_leaves_what_is_parked_resumable(
    environ: dict[str, str], mark: Path
) -> None:
    with _sleeping(environ, "sleep_aio", mark) as process:
        process.communicate("\n", timeout=120)
    assert {each["phase"] for each in _shown(environ)} == {"interrupted"}
    assert told(mark) == ["begin"]


def _sleeping(environ: dict[str, str], task: str, mark: Path) -> "subprocess.Popen[str]":
    """Start a program whose run sleeps; return it once that is parked."""
    script = mark.with_name("sleeper.py")
    script.write_text(SLEEPER)
    process = subprocess.Popen(
        [sys.executable, str(script), task, str(mark)],
        env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "parked\n"
    return process


def _shown(environ: dict[str, str]) -> list[dict[str, object]]:
    """Return what is shown of the actions of its run."""
    shown = subprocess.run(
        [sys.executable, "-c", ACTIONS], env=environ, stdout=subprocess.PIPE, check=True
    )
    found: list[dict[str, object]] = json.loads(shown.stdout)
    return found


ACTIONS = """
import json
import perdure

run = perdure.get_run("nap")
found = run.actions()
print(json.dumps([{"wake_at": each.wake_at, "phase": each.phase.value} for each in found]))
"""
