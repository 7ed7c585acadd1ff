"""A program that ends while its runs go on."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
import time
from pathlib import Path

import perdure

env = perdure.TaskEnvironment("left")


@env.task
def fail(gate: str) -> None:
    while not Path(gate).exists():
        time.sleep(0.01)
    raise ValueError("in the end")


if __name__ == "__main__":
    perdure.with_runcontext(name="alone").run(fail, sys.argv[1])
"""


def test_a_run_that_fails_once_the_program_has_ended_is_told(tmp_path: Path) -> None:
    script, gate = tmp_path / "left.py", tmp_path / "gate"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, str(script), str(gate)],
        env=os.environ | {"PERDURE_HOME": str(tmp_path / "home")},
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stderr is not None
        assert "waiting for alone" in program.stderr.readline()
        gate.touch()
        rest = program.stderr.read()
    assert "run alone failed: ValueError: in the end; look closer: perdure show alone" in rest


WAITING = """
import perdure

env = perdure.TaskEnvironment("waited")


@env.task
def fail() -> None:
    raise ValueError("too bad")


if __name__ == "__main__":
    names = ["unseen", "phase", "quiet"]
    started = {name: perdure.with_runcontext(name=name).run(fail) for name in names}
    for name, run in started.items():
        run.wait(quiet=name == "quiet")
    started["phase"].phase
"""


def test_a_failure_that_a_program_has_waited_for_and_not_looked_at_is_told(tmp_path: Path) -> None:
    script = tmp_path / "waited.py"
    script.write_text(WAITING)
    for _ in range(2):  # the second time it has failed already
        done = subprocess.run(
            [sys.executable, str(script)],
            env=os.environ | {"PERDURE_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert [line for line in done.stderr.splitlines() if "failed" in line] == [
            "perdure: run unseen failed: ValueError: too bad; look closer: perdure show unseen"
        ]
