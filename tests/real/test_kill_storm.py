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
from typing import NamedTuple

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
        code = self.process.wait(timeout=180)
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

    def reached(self, recorded: int) -> bool:
        """Wait until so many actions are recorded; return whether the run still goes on."""
        while len(self.look()) < recorded and self.process.poll() is None:
            time.sleep(0.005)
        return self.process.poll() is None

    def _ended(self) -> dict[str, float]:
        if not (self.home / "journal.db").exists():
            return {}
        with closing(sqlite3.connect(self.home / "journal.db")) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'actions'").fetchone():
                return {}  # killed before it was made
            rows = db.execute(ENDED).fetchall()
        return {bytes(id_).hex(): at for id_, at in rows}


ENDED = "SELECT id, ended FROM actions WHERE ended IS NOT NULL AND value IS NOT NULL"


class Blow(NamedTuple):
    """One kill: of whom, after how many recorded actions, and how much later in seconds."""

    controller: bool
    recorded: int
    later: float


def blows(rng: random.Random) -> list[Blow]:
    """Return the kills of a storm: spread over the whole run, however fast it goes.

    Some hit as soon as there is progress, others while a start or a replay is going on.
    """
    kinds = [i % 5 < 2 for i in range(KILLS)]
    rng.shuffle(kinds)
    places = sorted(rng.randrange(1600) for _ in kinds)
    return [
        Blow(kind, place, rng.choice([0.0, 0.0, rng.uniform(0.0, 0.3)]))
        for kind, place in zip(kinds, places, strict=True)
    ]


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
    for blow in blows(rng):
        if not storm.reached(blow.recorded):
            break
        time.sleep(blow.later)  # the moment of the kill, not a wait for anything
        victims = workers(storm.process.pid)
        if not blow.controller:
            if victims:
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
