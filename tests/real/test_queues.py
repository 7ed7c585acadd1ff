"""Queues that processes share."""

import os
import signal
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


DEEP = """
import os
import signal
from pathlib import Path

import perdure

queue = perdure.Queue("deep", concurrency=1, depth=2)
env = perdure.TaskEnvironment("deep", resources=perdure.Resources(cpu=0.1))


@env.task(queue=queue)
def job(n: int, driver: int, log: str) -> int:
    taken = len(Path(log).read_text().splitlines())
    assert taken <= n + 6, f"{taken} items are taken, and this is {n}"
    if n == 20 and os.environ.get("DIE"):
        os.kill(driver, signal.SIGKILL)
    return n


def items(log: str):
    for n in range(40):
        with open(log, "a") as file:
            print(n, file=file)
        yield n


@env.task
def main(driver: int, log: str) -> int:
    Path(log).write_text("")
    return sum(perdure.map(job, items(log), [driver] * 40, [log] * 40))


if __name__ == "__main__":
    run = perdure.with_runcontext(name="deep").run(main, os.getpid(), os.environ["LOG"])
    print(run.result())
"""


def test_a_map_over_a_queue_with_a_depth_takes_items_as_there_is_room_and_survives_the_driver(
    tmp_path: Path,
) -> None:
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(DEEP)
    environment = os.environ | {"PERDURE_HOME": str(tmp_path / "home"), "LOG": str(log)}

    def run(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path, env=environment | more, capture_output=True, text=True, timeout=240,
        )  # fmt: skip

    killed = run(str(program), DIE="1")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = run("-m", "perdure", "resume", "deep")
    assert resumed.returncode == 0, resumed.stderr
    assert str(sum(range(40))) in resumed.stdout
