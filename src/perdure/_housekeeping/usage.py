"""``perdure du``: what takes how much space in a home."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from perdure import _files
from perdure._blobs.sweeping import StoredBlob, stored
from perdure._housekeeping import marks, runs
from perdure._housekeeping.collector import Amount
from perdure._journal.schema import open_journal
from perdure.config import Config, folder_name


@dataclass
class RunUsage:
    """What a run takes.

    Attributes:
        name: Its name.
        blobs: Bytes of the blobs it refers to; what several runs refer to counts for each.
        checkpoints: Bytes of its checkpoints.
        reports: Bytes of its reports.
    """

    name: str
    blobs: int = 0
    checkpoints: int = 0
    reports: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.blobs + self.checkpoints + self.reports


@dataclass
class Usage:
    """What a home takes.

    Attributes:
        parts: Bytes by what they are: ``journal``, ``blobs``, ``logs``, ...
        free: Bytes inside the journal that it will use again.
        blobs: All blobs.
        unreferenced: Those that nothing refers to.
        runs: Those that take most, most first.
    """

    parts: dict[str, int] = field(default_factory=dict)
    free: int = 0
    blobs: Amount = field(default_factory=Amount)
    unreferenced: Amount = field(default_factory=Amount)
    runs: list[RunUsage] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.parts.values())


def measure(config: Config, top: int) -> Usage:
    """Look at everything in the home; ``top``: how many runs to tell of.

    Raises:
        StorageError: The home cannot be used.
    """
    usage = Usage(_parts(config.checked().home))
    if config.journal.exists():
        with closing(open_journal(config.journal, config.durability)) as db:
            _look_inside(config, db, usage, top)
    return usage


def _parts(home: Path) -> dict[str, int]:
    parts = {"journal": 0, "blobs": 0, "logs": 0, "checkpoints": 0, "reports": 0}
    for path in home.glob("*"):
        name = "journal" if path.name.startswith("journal.db") else path.name
        parts[name] = parts.get(name, 0) + _files.size(path)
    return parts


def _look_inside(config: Config, db: sqlite3.Connection, usage: Usage, top: int) -> None:
    (pages,) = db.execute("PRAGMA freelist_count").fetchone()
    (page,) = db.execute("PRAGMA page_size").fetchone()
    usage.free = pages * page
    marks.mark(db)
    db.execute("CREATE TEMP TABLE blobs (digest BLOB PRIMARY KEY, size INTEGER) WITHOUT ROWID")
    db.executemany("INSERT INTO temp.blobs VALUES (?, ?)", _counted(config.blobs, usage.blobs))
    usage.unreferenced = Amount(*_unreferenced(db))
    usage.runs = sorted(_of_runs(config, db), key=lambda each: -each.total)[:top]


def _counted(folder: Path, amount: Amount) -> Iterator[tuple[bytes, int]]:
    blob: StoredBlob
    for blob in stored(folder):
        amount.add(blob.size)
        yield blob.digest, blob.size


def _unreferenced(db: sqlite3.Connection) -> tuple[int, int]:
    found: tuple[int, int] = db.execute(
        "SELECT count(*), ifnull(sum(size), 0) FROM temp.blobs AS b "
        "WHERE NOT EXISTS (SELECT 1 FROM temp.refs AS r WHERE r.digest = b.digest)"
    ).fetchone()
    return found


def _of_runs(config: Config, db: sqlite3.Connection) -> Iterator[RunUsage]:
    sizes = dict(
        db.execute(
            "SELECT n.name, sum(b.size) FROM temp.refs AS r JOIN temp.blobs AS b USING (digest) "
            "JOIN runs AS n ON n.key = r.run GROUP BY n.key"
        ).fetchall()
    )
    for name in runs.names(db):
        folder = folder_name(name)
        usage = RunUsage(
            name,
            blobs=sizes.get(name, 0),
            checkpoints=_files.size(config.checkpoints / folder),
            reports=_files.size(config.reports / folder),
        )
        if usage.total:
            yield usage
