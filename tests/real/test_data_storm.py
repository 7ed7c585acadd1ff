"""P3 for data: kill -9 while values, files, checkpoints are stored and old ones are collected.

Whatever is killed, and at whichever step: what is referred to is there and is what was stored.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from blake3 import blake3

from perdure._blobs.local import LocalBlobs
from perdure._housekeeping import marks
from perdure._housekeeping.roots import OWNED
from perdure._journal.schema import open_journal
from perdure.config import Config
from real.processes import of_home, wait_gone
from real.programs import hoard, sweeping
from storage.server import Bucket

SEEDS = range(int(os.environ.get("PERDURE_STORMS", "1")))
LONG_AGO = 100 * 86_400.0
SECONDS = 120


class Storm:
    """Two runs of the program in one home, driven as often as it takes.

    The first two kills are certain; whether the others' steps are reached is chance.

    Attributes:
        config: Of the home.
        environ: Of the processes.
    """

    def __init__(self, folder: Path, seed: int, drivers: int) -> None:
        self._rng = rng = random.Random(seed)
        self._scratch, self._fates = folder / "scratch", folder / "fates"
        for path in (self._scratch, self._fates):
            path.mkdir()
        self.config = Config(home=folder / "home", durability="process")
        self.environ = os.environ | {
            "PERDURE_HOME": str(self.config.home),
            "STORM_FATES": str(self._fates),
        }
        victims = ["driver", "worker", "worker"] * (drivers + seed % 4)
        rng.shuffle(victims)
        kills = [f"{victim}-{rng.randrange(1, 30)}" for victim in victims]
        for number, kill in enumerate(["worker-1", "driver-1", *kills[2:]]):
            when = rng.choice(["at", "at", "within"])
            (self._fates / f"{number:02}-{kill}-{when}").touch()

    def live(self) -> str | None:
        """Drive the runs, and collect meanwhile; return what was printed if nobody was killed."""
        self._age()
        fatal, begun = self._rng.randrange(1, 80), self._rng.choice([0, self._rng.randrange(60)])
        collector = self._start(sweeping.__file__, fatal, begun)
        driver = self._start(hoard.__file__, self._scratch)
        try:
            said, complaint = driver.communicate(timeout=SECONDS)
        finally:
            for process in (driver, collector):
                process.kill()
                process.communicate()
        assert driver.returncode in (0, -signal.SIGKILL), complaint
        return said if driver.returncode == 0 else None

    def _start(self, program: str, *arguments: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, program, *map(str, arguments)], env=self.environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def struck(self, victim: str) -> int:
        """Return how many of them were killed at the step that was drawn."""
        return len(list(self._fates.glob(f"struck-*-{victim}-*")))

    def _age(self) -> None:
        """Let it be long ago that anything was done or wanted in this home.

        Some of what is going to be stored is there, then, without anything that refers to it.
        """
        blobs = LocalBlobs(self.config.blobs, sync=False)
        for number in range(2 * hoard.POOL):
            blobs.put([hoard.content(number)])
        at = time.time() - LONG_AGO
        for path in self.config.home.rglob("*"):
            if path.is_file() and "journal" not in path.name:
                os.utime(path, (at, path.stat().st_mtime))
        if self.config.journal.exists() and self._rng.randrange(2):
            with closing(sqlite3.connect(self.config.journal)) as db, db:
                for table in ("runs", "actions"):
                    db.execute(
                        f"UPDATE {table} SET created = created - :ago, ended = ended - :ago",
                        {"ago": LONG_AGO},
                    )
                db.execute("UPDATE actions SET started = started - ?", (LONG_AGO,))


def read(config: Config, bucket: Bucket | None, digest: bytes) -> bytes:
    """Return what is stored as that blob, by whatever name it has there."""
    name = f"{digest.hex()[:2]}/{digest.hex()[2:]}"
    return bucket.content(f"place/{name}") if bucket else (config.blobs / name).read_bytes()


def problems(config: Config, bucket: Bucket | None) -> list[str]:
    """Return what is wrong in a home in which nobody works."""
    found = []
    with closing(open_journal(config.journal, "process")) as db:
        marks.mark(db)
        for (digest,) in db.execute("SELECT DISTINCT digest FROM temp.refs").fetchall():
            try:
                if blake3(read(config, bucket, digest)).digest() != digest:
                    found.append(f"damaged: {digest.hex()}")
            except (OSError, AssertionError):
                found.append(f"dangling: {digest.hex()}")
        for table in OWNED:
            query = f"SELECT count(*) FROM {table} WHERE run NOT IN (SELECT key FROM runs)"
            if count := db.execute(query).fetchone()[0]:
                found.append(f"without a run: {count} {table}")
    found += [
        f"not what its name says: {path}"
        for path in config.blobs.glob("??/" + "[0-9a-f]" * 62)
        if blake3(path.read_bytes()).hexdigest() != path.parent.name + path.name
    ]
    for folder in config.checkpoints.glob("[!~]*/*"):
        hoard.check(folder)
    return found


@pytest.mark.timeout(5 * SECONDS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("where", "drivers"), [("files", 2), ("bucket", 1)])
def test_p3_no_kill_leaves_a_reference_to_what_is_not_whole(
    request: pytest.FixtureRequest, tmp_path: Path, seed: int, where: str, drivers: int
) -> None:
    storm = Storm(tmp_path, seed, drivers)
    bucket: Bucket | None = None
    if where == "bucket":
        bucket = request.getfixturevalue("bucket")
        storm.environ |= {"PERDURE_STORAGE": f"{bucket}/place"} | {
            name: value for name, value in os.environ.items() if name.startswith("AWS_")
        }
    said = None
    while said is None:
        said = storm.live()
        assert wait_gone(of_home(storm.config.home)) == []
        assert problems(storm.config, bucket) == []
    assert said.split() == [str(hoard.expected())] * len(hoard.RUNS)
    assert storm.struck("driver") > 0
    assert storm.struck("worker") > 0
