"""Part of a storm: writes runs that share blobs, or collects what is hardly old."""

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from homes import SPEC, SUCCEEDED, Controller, Home

from perdure._blobs import local
from perdure._core.ids import digest
from perdure._core.model import Outcome
from perdure._housekeeping import collector
from perdure._ports import ActionRow, RunEnd, RunRow

ROUNDS = 60
POOL = 12
AGE = 0.05


def write(home: Home, seed: int) -> None:
    """Record runs; what they store is looked at before each ends."""
    local._FRESH_SECONDS = 0.0
    rng = random.Random(seed)
    with Controller(home.config) as owner:
        for number in range(ROUNDS):
            row = RunRow(name=f"{seed}-{number}", spec=SPEC, created=time.time())
            key = home.journal.create_run(row)
            epochs = {key: home.journal.acquire(key, owner, lambda _: False)}
            blobs = [record(home, rng, key, seq, epochs) for seq in range(1, 4)]
            for blob in blobs:
                home.blobs.get(blob)
            end = RunEnd(run=key, phase=SUCCEEDED, at=time.time(), outcome=Outcome(b"v"))
            home.journal.commit([end], epochs)
            home.journal.release(key, epochs[key])
    print(ROUNDS)


def record(home: Home, rng: random.Random, run: int, seq: int, epochs: dict[int, int]) -> bytes:
    """Store a blob that others store, too, and refer to it a moment later."""
    blob = home.put(f"content {rng.randrange(POOL)}")
    time.sleep(rng.random() * 0.005)  # what a storm is made of
    now = time.time()
    row = ActionRow(
        run=run, seq=seq, id=digest(b"%d" % seq), parent=0, task="t", created=now, started=now,
        ended=now, phase=SUCCEEDED, outcome=Outcome(b"v", None, (blob,)),
    )  # fmt: skip
    home.journal.commit([row], epochs)
    return blob


def collect(home: Home) -> None:
    """Collect for a while; print how many runs have gone each time."""
    collector.SLACK_SECONDS = AGE
    for _ in range(20):
        print(len(collector.collect(home.config, AGE).runs), flush=True)


if __name__ == "__main__":
    role, folder, number = sys.argv[1:]
    home = Home(Path(folder))
    write(home, int(number)) if role == "write" else collect(home)
