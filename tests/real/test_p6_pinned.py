"""P6: a replay that diverges from what is recorded is reported, never silently mixed."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "changing.py"


@pytest.fixture
def interrupted(tmp_path: Path) -> dict[str, str]:
    """A run that was killed after five leaves; returns the environment to resume it in."""
    mark = tmp_path / "mark"
    environ = os.environ | {"PERDURE_HOME": str(tmp_path / "home"), "MODE": "before"}
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(mark)], env=environ)
    end = time.monotonic() + 60
    while not mark.exists():
        assert process.poll() is None
        assert time.monotonic() < end
    process.send_signal(signal.SIGKILL)
    process.wait()
    return environ | {"MODE": "after", "MARK": str(mark)}


def resume(environ: dict[str, str], *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(PROGRAM), environ["MARK"], *options],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def perdure(environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "perdure", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout


def test_p6_recorded_children_that_are_not_called_again_are_reported(
    interrupted: dict[str, str],
) -> None:
    done = resume(interrupted)
    assert done.stdout.strip() == "3"
    assert "did not call 2 recorded children again" in done.stderr
    assert done.stderr.count("changing.leaf (#") == 2
    assert "did not call 2 recorded children again" in perdure(interrupted, "show", "changing")


def test_p6_a_strict_run_fails_when_its_replay_diverges(interrupted: dict[str, str]) -> None:
    done = resume(interrupted, "strict")
    assert done.returncode == 1
    assert "ReplayDivergedError" in done.stderr


def test_what_is_not_asked_for_again_does_not_stay_open(interrupted: dict[str, str]) -> None:
    resume(interrupted)
    journal = Path(interrupted["PERDURE_HOME"]) / "journal.db"
    with closing(sqlite3.connect(journal)) as db:
        (open_actions,) = db.execute("SELECT count(*) FROM actions WHERE ended IS NULL").fetchone()
    assert open_actions == 0
