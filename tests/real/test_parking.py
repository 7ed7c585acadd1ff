"""Waiting costs nothing: what sleeps for long gives its process back, and goes on after it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import perdure
from perdure import _embedded, errors
from perdure._embedded import Runtime
from perdure.config import Config
from real.processes import of_home, wait_gone, workers
from real.programs import sleepers
from real.test_promises import until

PROGRAM = Path(sleepers.__file__)
LONG = 1e6


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime that parks whatever it can at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PERDURE_PARK_AFTER", "0")
        runtime = _embedded.runtime(Config())
        yield runtime
        runtime.shutdown()


def marks(mark: Path) -> list[list[str]]:
    return [line.split() for line in mark.read_text().splitlines()] if mark.exists() else []


def told(mark: Path) -> list[str]:
    return [line[0] for line in marks(mark)]


def is_dormant(runtime: Runtime, run: perdure.Run) -> bool:
    dormant = runtime.controller.dormitory.find(run.name) is not None
    return dormant and run.phase.value == "waiting"  # and the journal says so


@pytest.mark.parametrize("task", [sleepers.sleepy, sleepers.asleep], ids=["sync", "async"])
def test_a_task_that_sleeps_is_executed_again_as_the_same_attempt(
    runtime: Runtime, mark: Path, task: perdure.Task[..., str]
) -> None:
    run = perdure.run(task, mark, 1.5)
    until(lambda: is_dormant(runtime, run))
    assert told(mark) == ["begin"]
    assert run.phase.value == "waiting"
    assert run.result(timeout=60) == "awake"
    assert told(mark) == ["begin", "begin", "finally"]
    assert {attempt for _, _, attempt in marks(mark)} == {"0"}
    root, nap = run.actions()
    assert (root.attempts, root.losses) == (1, 0)
    assert nap.wake_at is not None
    assert nap.ended is not None
    assert nap.ended >= nap.wake_at


def test_a_sync_task_that_sleeps_has_no_process(runtime: Runtime, mark: Path) -> None:
    run = perdure.run(sleepers.sleepy, mark, LONG)
    until(lambda: is_dormant(runtime, run))
    pid = int(marks(mark)[0][1])
    until(lambda: pid not in [worker.pid for worker in workers(os.getpid())])
    run.abort()
    with pytest.raises(errors.RunAbortedError):
        run.result(timeout=60)
    assert told(mark) == ["begin"]
    assert [action.phase.value for action in run.actions()] == ["aborted", "aborted"]


def test_a_parent_of_sleepers_is_parked_too(runtime: Runtime, mark: Path) -> None:
    run = perdure.run(sleepers.parent, mark, 2.5)
    until(lambda: is_dormant(runtime, run))
    assert {each.phase.value for each in run.actions()} == {"waiting"}
    assert run.result(timeout=60) == ["awake", "awake"]
    assert "noticed" not in told(mark)


def test_a_coroutine_with_something_to_clean_up_is_not_parked(runtime: Runtime, mark: Path) -> None:
    run = perdure.run(sleepers.keeper, mark, 1.0)
    assert run.result(timeout=60) == "awake"
    assert told(mark) == ["begin", "finally"]


def test_a_run_that_asks_somebody_is_parked_until_it_is_answered(
    runtime: Runtime, mark: Path
) -> None:
    run = perdure.run(sleepers.asker, mark)
    until(lambda: is_dormant(runtime, run))
    run.signal("go on?", "yes")
    assert run.result(timeout=60) == "yes"
    assert told(mark) == ["begin", "begin"]


def test_people_see_until_when_a_run_waits(
    runtime: Runtime, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = perdure.run(sleepers.asleep, mark, LONG)
    until(lambda: is_dormant(runtime, run))
    root, nap = run.actions()
    assert root.wake_at == nap.wake_at
    assert [each.name for each in perdure.runs(phase="waiting")] == [run.name]
    run.abort()
    run.wait(timeout=60)


def test_p3_what_is_parked_survives_the_death_of_its_controller(tmp_path: Path) -> None:
    home, mark = tmp_path / "home", tmp_path / "marks"
    environ = os.environ | {"PERDURE_HOME": str(home), "PERDURE_PARK_AFTER": "0"}
    command = [sys.executable, str(PROGRAM), "nap", str(mark), "3"]
    began = time.time()
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "parked\n"
        process.kill()
    assert not wait_gone(of_home(home))
    script = "import perdure; print(perdure.resume('nap').result())"
    said = subprocess.run(
        [sys.executable, "-c", script], env=environ, stdout=subprocess.PIPE, text=True, check=True
    )
    assert said.stdout == "awake\n"
    assert time.time() - began >= 3
    assert told(mark)[-1] == "finally"
    assert told(mark).count("finally") == 1


def test_a_program_that_is_stopped_leaves_what_is_parked_resumable(tmp_path: Path) -> None:
    home, mark = tmp_path / "home", tmp_path / "marks"
    environ = os.environ | {"PERDURE_HOME": str(home), "PERDURE_PARK_AFTER": "0"}
    script = (
        "from pathlib import Path; import perdure, time; from real.programs import sleepers\n"
        f"mark = Path({str(mark)!r})\n"
        "run = perdure.with_runcontext(name='nap').run(sleepers.asleep, mark, 1e6)\n"
        "while run.phase.value != 'waiting': time.sleep(0.01)\n"
        "raise RuntimeError('enough')"
    )
    environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    subprocess.run([sys.executable, "-c", script], env=environ, check=False, timeout=120)
    shown = subprocess.run(
        [sys.executable, "-m", "perdure", "show", "nap", "--json"],
        env=environ, stdout=subprocess.PIPE, check=True, timeout=120,
    )  # fmt: skip
    assert json.loads(shown.stdout)["phase"] == "interrupted"
    assert told(mark) == ["begin"]
