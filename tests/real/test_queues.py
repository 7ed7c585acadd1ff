"""Queues that processes share."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os
import time

import perdure

queue = perdure.Queue("api", concurrency=3)
few = perdure.Resources(cpu=0.1)
env = perdure.TaskEnvironment("shared", resources=few)


@env.task(queue=queue)
def job(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b"+")
    time.sleep(0.02)
    os.write(file, b"-")
    os.close(file)


@env.task
def main(log: str) -> int:
    return len(list(perdure.map(job, [log] * 20)))
"""


def test_a_queue_of_concurrency_3_shared_by_two_processes_never_has_4(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "perdure", "run", "program.py", "main", "--log", str(log)]
    environment = os.environ | {"PERDURE_HOME": str(tmp_path / "home")}
    started = [
        subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    running = most = 0
    for sign in log.read_text():
        running += 1 if sign == "+" else -1
        most = max(most, running)
    assert log.read_text().count("+") == 40
    assert most <= 3
