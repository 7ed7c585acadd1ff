"""What tasks print appears in the process that drives the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import perdure
env = perdure.TaskEnvironment("echo")

@env.task
def talk(lines: int) -> None:
    for i in range(lines):
        print("line", i)
    print("no end", end="")

if __name__ == "__main__":
    perdure.run(talk, lines=3).result()
    print("the end")
"""


@pytest.mark.parametrize(
    ("setting", "shown"),
    [("1", "line 0\nline 1\nline 2\nthe end\nno end\n"), ("0", "the end\n")],
)
def test_prints_of_tasks_are_shown_unless_turned_off(
    tmp_path: Path, setting: str, shown: str
) -> None:
    script = tmp_path / "talk.py"
    script.write_text(SCRIPT)
    environ = os.environ | {"PERDURE_HOME": str(tmp_path / "home"), "PERDURE_ECHO": setting}
    done = subprocess.run(
        [sys.executable, str(script)], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == shown
