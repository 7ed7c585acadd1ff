"""Checkpoints of actions in real processes, across attempts, kills and runs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import perdure
from perdure._embedded import Runtime
from perdure.config import checkpoint_path
from real.programs import checkpoints

PROGRAM = Path(checkpoints.__file__)


@pytest.mark.parametrize("how", ["error", "kill"])
def test_children_go_on_from_what_they_saved_whatever_ended_the_attempt(
    runtime: Runtime, tmp_path: Path, how: str
) -> None:
    log = tmp_path / "log"
    assert perdure.run(checkpoints.both, log=log, how=how).result(60) == [4, 4]
    expected = [f"{how} {step}" for step in range(5)]
    assert log.read_text().splitlines() == expected
    assert log.with_suffix(".async").read_text().splitlines() == expected


def test_a_root_goes_on_from_what_it_saved(runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert perdure.run(checkpoints.acount, log=log, how="error").result(60) == 4
    assert log.read_text().splitlines() == [f"error {step}" for step in range(5)]


def test_each_action_has_a_checkpoint_of_its_own(runtime: Runtime) -> None:
    run = perdure.run(checkpoints.siblings)
    found = run.result(60)
    home = runtime.config.home
    for path, action in found:
        assert Path(path) == checkpoint_path(home, run.name, bytes.fromhex(action)) / "path"
        assert Path(path).is_dir()
    assert len({path for path, _ in found}) == 3


def test_a_run_that_lost_its_driver_finds_what_a_library_had_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, str(PROGRAM), "training", str(log)]
    environ = os.environ | {"PERDURE_HOME": str(tmp_path / "home")}
    first = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=60)
    assert first.returncode == -signal.SIGKILL
    second = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=60)
    assert second.stdout.decode().split() == ["3.ckpt"], second.stderr.decode()
    assert log.read_text().splitlines() == [f"epoch {n}" for n in range(4)]
