"""A collection that dies at any step leaves a home in order, and the next one finishes."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("dying_collector.py")


def test_a_kill_at_any_step_of_a_collection_does_no_harm(tmp_path: Path) -> None:
    """The program kills a child of its own at each statement and each file in turn."""
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["steps"] > 40
    assert told["problems"] == []
