"""P3 on real processes: whatever is killed, whenever, the run ends as if nothing had happened."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from real.processes import descendants, kill, wait_gone, workers

PROGRAM = Path(__file__).parent / "programs" / "storm.py"
SEEDS = range(int(os.environ.get("PERDURE_STORMS", "1")))
KILLS = int(os.environ.get("PERDURE_KILLS", "20"))


class Storm:
    """One run of the program under one home, started as often as it takes."""

    def __init__(self, folder: Path, width: int) -> None:
        self.home = folder / "home"
        self.log = folder / "executions"
        self.said = folder / "said"
        self.recorded: dict[str, float] = {}
        self.environ = os.environ | {
            "PERDURE_HOME": str(self.home),
            "STORM_LOG": str(self.log),
            "STORM_WIDTH": str(width),
        }
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        with self.said.open("wb") as said:
            command = [sys.executable, str(PROGRAM), "storm"]
            self.process = subprocess.Popen(command, env=self.environ, stdout=said, stderr=said)
        return self.process

    def finish(self) -> str:
        code = self.process.wait(timeout=90)
        said = self.said.read_text()
        assert code == 0, said
        return said.strip().splitlines()[-1]

    def executions(self) -> list[tuple[str, float]]:
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [(action, float(at)) for action, at in lines]

    def look(self) -> dict[str, float]:
        """Return when each recorded action first got its outcome, as far as it was looked at."""
        for action, ended in self._ended().items():
            self.recorded.setdefault(action, ended)
        return self.recorded

    def _ended(self) -> dict[str, float]:
        if not (self.home / "journal.db").exists():
            return {}
        with closing(sqlite3.connect(self.home / "journal.db")) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'actions'").fetchone():
                return {}  # killed before it was made
            rows = db.execute(ENDED).fetchall()
        return {bytes(id_).hex(): at for id_, at in rows}


ENDED = "SELECT id, ended FROM actions WHERE ended IS NOT NULL AND value IS NOT NULL"


def undisturbed(folder: Path, width: int) -> str:
    folder.mkdir()
    return Storm(folder, width).finish()


@pytest.mark.parametrize("seed", SEEDS)
def test_p3_a_run_of_2000_actions_survives_20_kills_with_the_same_result(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    width = 24
    expected = undisturbed(tmp_path / "calm", width)
    storm = Storm(tmp_path, width)
    controller_kills = 0
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.15, 0.6))  # the moment of the kill, not a wait for anything
        if storm.process.poll() is not None:
            break
        victims = workers(storm.process.pid)
        storm.look()
        if victims and rng.random() < 0.6:
            kill(rng.choice(victims))
            continue
        below = descendants(storm.process.pid)
        storm.process.send_signal(signal.SIGKILL)
        storm.process.wait()
        assert wait_gone(below) == [], "workers outlived their controller"
        controller_kills += 1
        storm.start()
    assert storm.finish() == expected
    assert controller_kills >= 2
    ended = storm.look()
    assert len(ended) > 2000
    late = [(a, at) for a, at in storm.executions() if a in ended and at > ended[a]]
    assert late == [], "actions ran again although their outcome was recorded"


def test_p3_killing_the_whole_process_group_leaves_nothing_behind(tmp_path: Path) -> None:
    storm = Storm(tmp_path, 20)
    while len(workers(storm.process.pid)) < 2:
        assert storm.process.poll() is None
    below = descendants(storm.process.pid)
    for process in [psutil.Process(storm.process.pid), *below]:
        kill(process)
    storm.process.wait()
    assert wait_gone(below) == []
    storm.start()
    storm.finish()
