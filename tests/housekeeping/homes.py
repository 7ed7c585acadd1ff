"""Homes with runs of any age, made without running anything."""

import os
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from perdure._blobs.local import LocalBlobs
from perdure._blobs.sweeping import stored
from perdure._controller import presence
from perdure._core.ids import digest
from perdure._core.model import (
    Bundle,
    Failure,
    Loader,
    LogSpan,
    Outcome,
    Phase,
    SourceFile,
    TaskSpec,
)
from perdure._housekeeping import marks
from perdure._housekeeping.roots import OWNED
from perdure._journal.schema import open_journal
from perdure._journal.sqlite import SqliteJournal
from perdure._ports import ActionRow, AttemptRow, EventRow, RunEnd, RunRow
from perdure.config import Config, checkpoint_path, log_path, report_path

DAY = 86_400.0
SPEC = TaskSpec("t", Loader("main", qualname="t"))
SUCCEEDED, FAILED, INTERRUPTED = Phase.SUCCEEDED, Phase.FAILED, Phase.INTERRUPTED
_contents: dict[bytes, str] = {}
FAILURE = Failure("builtins.KeyError", "no", "Traceback")


class Home:
    """A home folder, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.config = Config(home=folder, durability="process")
        self.journal = SqliteJournal(self.config.journal, "process")
        self.blobs = LocalBlobs(self.config.blobs, sync=False)
        self._worker = 0x1000

    def close(self) -> None:
        self.journal.close()

    def put(self, content: str) -> bytes:
        digest = self.blobs.put([content.encode()])
        _contents[digest] = content
        return digest

    def run(
        self,
        name: str,
        age: float,
        *,
        phase: Phase = SUCCEEDED,
        contents: Iterable[str] = (),
        owner: str = "nobody",
        recover_from: str = "",
        actions: int = 1,
    ) -> int:
        """Record a run that did its last work ``age`` days ago; return its key.

        It refers to each of the contents from another place in its rows.
        """
        at = time.time() - age * DAY
        blobs = [self.put(content) for content in contents]
        environment = blobs.pop() if blobs else b""
        places = [tuple(blobs[n::5]) for n in range(5)]
        key = self.journal.create_run(
            RunRow(
                name=name,
                spec=SPEC,
                created=at - 60,
                blobs=places[0],
                bundle=Bundle(
                    files=tuple(SourceFile("/file", blob) for blob in places[1]),
                    environment=environment,
                ),
                options=msgspec.msgpack.encode({"recover_from": recover_from}),
            )
        )
        epochs = {key: self.journal.acquire(key, owner, lambda _: False)}
        rows = [self._action(key, seq, at) for seq in range(1, actions + 1)]
        rows[0].blobs, rows[0].log = places[2], (LogSpan(0, 3),)
        rows[0].outcome = Outcome(b"v", None, places[3])
        broken = msgspec.structs.replace(FAILURE, blobs=places[4])
        attempt = AttemptRow(
            run=key, seq=1, number=0, failure=broken, started=at, ended=at,
            worker=self._log(), log=(LogSpan(0, 3),),
        )  # fmt: skip
        rows[0].worker = self._log()
        event = EventRow(run=key, seq=0, at=at, kind="info", text="told")
        outcome = Outcome(b"v") if phase is SUCCEEDED else Outcome(None, FAILURE)
        end = RunEnd(run=key, phase=phase, at=at, outcome=outcome if phase.final else None)
        self.journal.commit([*rows, attempt, event, end], epochs)
        if owner == "nobody" and phase is not INTERRUPTED:
            self.journal.release(key, epochs[key])
        checkpoint = checkpoint_path(self.config.home, name, b"\1" * 16)
        (checkpoint / "1").mkdir(parents=True)
        (checkpoint / "1" / "bytes").write_bytes(name.encode())
        report = report_path(self.config.home, name, b"\1" * 16)
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(name)
        return key

    def _action(self, run: int, seq: int, at: float) -> ActionRow:
        return ActionRow(
            run=run, seq=seq, id=digest(b"%d %d" % (run, seq)), parent=int(seq > 1), task="t",
            created=at, started=at, ended=at, phase=SUCCEEDED, outcome=Outcome(b"v"),
        )  # fmt: skip

    def _log(self) -> int:
        """Make the log of another worker, and return its number."""
        self._worker += 1
        path = log_path(self.config.logs, self._worker)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("abc")
        return self._worker

    def grow_old(self, days: float = 100.0) -> None:
        """Make everything that is there now look as if it had been for long."""
        grow_old(self.config.home, days)

    def names(self) -> set[str]:
        from perdure._views.sqlite import SqliteViews

        with closing(SqliteViews(self.config.journal)) as views:
            return {each.name for each in views.runs()}

    def contents(self) -> set[str]:
        # Not by reading them: that would make them fresh.
        return {_contents[each.digest] for each in stored(self.config.blobs)}

    def files(self, folder: Path) -> set[str]:
        return {p.name for p in folder.glob("*")}


def grow_old(home: Path, days: float = 100.0) -> None:
    """Make everything in a home look as if it had been there for long, and not been wanted."""
    at = time.time() - days * DAY
    for path in home.rglob("*"):
        if path.is_file() and "controllers" not in path.parts:
            os.utime(path, (at, at))


def dangling(config: Config) -> list[bytes]:
    """Return the blobs that rows refer to and that are not stored."""
    blobs = LocalBlobs(config.blobs, sync=False)
    with closing(open_journal(config.journal, "process")) as db:
        marks.mark(db)
        referred = db.execute("SELECT DISTINCT digest FROM temp.refs").fetchall()
        return [each for (each,) in referred if not blobs.path(each).exists()]


def strays(config: Config) -> list[str]:
    """Return what is in the home without a run that it belongs to."""
    with closing(open_journal(config.journal, "process")) as db:
        keys = "(SELECT key FROM runs)"
        return [
            f"{table}: {count}"
            for table in OWNED
            for (count,) in db.execute(f"SELECT count(*) FROM {table} WHERE run NOT IN {keys}")
            if count
        ]


class Controller:
    """A live controller without anything to do."""

    def __init__(self, config: Config) -> None:
        self._presence = presence.Presence(config.controllers)
        self.name = self._presence.name

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *_: object) -> None:
        self._presence.close()
