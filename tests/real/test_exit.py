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
