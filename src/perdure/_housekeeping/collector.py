"""``perdure gc``: what is old goes, and what only that needed goes with it."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from perdure import _files
from perdure._blobs.local import LocalBlobs
from perdure._blobs.sweeping import StoredBlob, discard, stored
from perdure._controller import presence
from perdure._environments.store import Environments
from perdure._housekeeping import marks, runs
from perdure._housekeeping.runs import OldRun
from perdure._journal.codes import RUIN
from perdure._journal.schema import open_journal
from perdure.config import Config, folder_name, worker_of
from perdure.errors import StorageError

SLACK_SECONDS = 3600.0
"""What is about to be recorded by somebody may have been stored that long before they began."""

_BATCH = 500


@dataclass
class Amount:
    """Some files: how many, and how many bytes they take."""

    count: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one more."""
        self.count += 1
        self.bytes += size


@dataclass
class Collected:
    """What a collection has removed, or would remove.

    Attributes:
        runs: The runs.
        needed: Runs that are old enough, but that later ones take results over from.
        checkpoints: Runs' folders of checkpoints.
        reports: Runs' folders of reports.
        logs: Logs of workers.
        blobs: Blobs.
        environments: What was installed for images.
        fresh: Blobs that nothing refers to, but that are too fresh to go.
        elsewhere: URL of blobs outside of the home, which stay: other homes may refer to them.
    """

    runs: list[OldRun] = field(default_factory=list)
    needed: list[OldRun] = field(default_factory=list)
    checkpoints: Amount = field(default_factory=Amount)
    reports: Amount = field(default_factory=Amount)
    logs: Amount = field(default_factory=Amount)
    blobs: Amount = field(default_factory=Amount)
    environments: Amount = field(default_factory=Amount)
    fresh: Amount = field(default_factory=Amount)
    elsewhere: str = ""

    @property
    def bytes(self) -> int:
        """How many bytes of files, without the journal, which reuses the space inside it."""
        parts = (self.checkpoints, self.reports, self.logs, self.blobs, self.environments)
        return sum(each.bytes for each in parts)


def collect(config: Config, age: float, *, dry_run: bool = False) -> Collected:
    """Remove the runs that ended, or were interrupted, so many seconds ago, and what they needed.

    Safe while runs are going on, and at any moment to kill.

    Args:
        config: Where the home is.
        age: Seconds.
        dry_run: Only tell what would be removed.

    Raises:
        StorageError: Another collection is at work, or the home cannot be used.
    """
    before = time.time() - age
    if not config.checked().home.exists():
        return Collected()
    with _alone(config.home):
        found = Collected(elsewhere=config.storage)
        if config.journal.exists():
            with closing(open_journal(config.journal, "full")) as db:
                found = _Collection(config, db, dry_run=dry_run).done(before)
        _sweep_environments(config, found, before, dry_run=dry_run)
        return found


class _Collection:
    """One collection.

    Args:
        config: Where the home is.
        db: The journal. Its commits are synced: a blob may go only when its row is gone for good.
        dry_run: Only tell.
    """

    def __init__(self, config: Config, db: sqlite3.Connection, *, dry_run: bool) -> None:
        self._config = config
        self._db = db
        self._dry_run = dry_run
        self._found = Collected(elsewhere=config.storage)

    def done(self, before: float) -> Collected:
        """Collect, and return what."""
        config, db = self._config, self._db
        if not self._dry_run:
            runs.clear_ruins(db, config)
        (newest,) = db.execute("SELECT ifnull(max(key), 0) FROM runs").fetchone()
        is_alive = partial(presence.is_alive, config.controllers)
        old, self._found.needed = runs.choose(db, before, is_alive)
        kept = set[str]()
        for run in reversed(old):  # a rerun goes before the run that it takes results over from
            if run.name in kept or not self._remove(run, newest):
                kept.add(run.origin)
        self._found.runs.reverse()
        if not self._dry_run:
            runs.clear_ruins(db, config)
            LocalBlobs(config.blobs).clean()
        horizon = self._horizon()
        marks.mark(db, {run.key for run in self._found.runs})
        self._sweep_folders()
        self._sweep_logs(horizon)
        self._sweep_blobs(horizon)
        return self._found

    def _remove(self, run: OldRun, newest: int) -> bool:
        """Remove a run, unless it goes on or is needed by now; return whether it was removed."""
        sizes = [
            (amount, _files.size(folder / folder_name(run.name)))
            for folder, amount in self._folders()
        ]
        if not self._dry_run and not runs.remove(self._db, self._config, run, newest):
            return False
        self._found.runs.append(run)
        for amount, size in sizes:
            if size:
                amount.add(size)
        return True

    def _folders(self) -> list[tuple[Path, Amount]]:
        config, found = self._config, self._found
        return [(config.checkpoints, found.checkpoints), (config.reports, found.reports)]

    def _horizon(self) -> float:
        """Return the time before which everything under way now had not begun, less some slack."""
        started = presence.starts(self._config.controllers)
        begun = [time.time()]
        rows = self._db.execute("SELECT owner, created FROM runs WHERE phase <> ?", (RUIN,))
        begun += [max(created, started[owner]) for owner, created in rows if owner in started]
        return min(begun) - SLACK_SECONDS

    def _sweep_folders(self) -> None:
        """Remove folders of runs that are not in the journal any more."""
        for folder, amount in self._folders():
            # Listed first: a folder that is there already has had its run in the journal before.
            present = [each for each in folder.glob("*") if each.is_dir()]
            known = {folder_name(name) for name in runs.names(self._db)}
            for each in present:
                if each.name not in known:
                    amount.add(_files.size(each))
                    if not self._dry_run:
                        _files.remove(each)

    def _sweep_logs(self, horizon: float) -> None:
        """Remove logs of workers that no row refers to, and output of drivers of runs now gone."""
        started = presence.starts(self._config.controllers).values()
        known = set(runs.names(self._db)) - {run.name for run in self._found.runs}
        for path in self._config.logs.glob("*"):
            number = worker_of(path)
            if number is None:
                needed = path.stem in known
            else:
                needed = _may_live(number, started) or marks.is_marked_worker(self._db, number)
            if needed or path.stat().st_mtime >= horizon:
                continue
            self._found.logs.add(_files.size(path))
            if not self._dry_run:
                _files.remove(path)

    def _sweep_blobs(self, horizon: float) -> None:
        """Remove blobs that no row refers to."""
        blobs = self._config.blobs
        collected = self._unreachable(stored(blobs), horizon)
        if not self._dry_run:
            collected = discard(blobs, collected, horizon)
        for blob in collected:
            self._found.blobs.add(blob.size)

    def _unreachable(self, blobs: Iterable[StoredBlob], horizon: float) -> Iterator[StoredBlob]:
        ahead = iter(blobs)
        while batch := list(islice(ahead, _BATCH)):
            left = marks.unmarked(self._db, (blob.digest for blob in batch))
            for blob in batch:
                if blob.digest not in left:
                    continue
                if blob.wanted < horizon:
                    yield blob
                else:
                    self._found.fresh.add(blob.size)


def _sweep_environments(config: Config, found: Collected, before: float, *, dry_run: bool) -> None:
    """Remove environments that nobody uses, nor has used since a time."""
    environments = Environments(config.environments)
    for folder in environments.unused(before):
        size = _files.size(folder)
        if dry_run or environments.remove(folder):
            found.environments.add(size)


def _may_live(worker: int, started: Iterable[float]) -> bool:
    """Whether a worker may be one of a controller that lives: its number tells when that began."""
    begun = (worker >> 12) / 1000
    return any(-1.0 < begun - start < 60.0 for start in started)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep other collections out of this home; the kernel lets them in when this process ends."""
    folder = os.open(home, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"another collection is at work in {home}", hint="wait for it to end"
            ) from None
        yield
    finally:
        os.close(folder)
