"""Whatever is wrong with the home ends in words, at once; what was recorded stays good.

Mostly through processes of their own, as a home belongs to a process. The scripts are the tasks of
``hostile`` behind the command line.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import perdure
from perdure import _embedded, errors
from perdure._embedded import Runtime
from perdure._journal import schema
from real.processes import until
from real.programs import hostile as h
from real.programs.machines import locked, obey_permissions, small_disk

PROGRAM = Path(h.__file__)
SECONDS = 60


class Home:
    """A home, and commands that use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before: Callable[[], None] = lambda: None
        self.durability = "process"

    @property
    def journal(self) -> Path:
        return self.path / "journal.db"

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        environ = os.environ | {
            "PERDURE_HOME": str(self.path),
            "PERDURE_DURABILITY": self.durability,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "perdure", *arguments], env=environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            preexec_fn=self.before,
        )  # fmt: skip

    def __call__(self, *arguments: str, code: int = 0) -> str:
        return said_by(self.start(*arguments), code)

    def run(self, task: str, *arguments: object, code: int = 0) -> str:
        return self("run", str(PROGRAM), task, *map(str, arguments), code=code)

    def is_whole(self) -> bool:
        with closing(sqlite3.connect(self.journal)) as db:
            found: list[tuple[str]] = db.execute("PRAGMA integrity_check").fetchall()
        return found == [("ok",)]


def said_by(process: "subprocess.Popen[str]", code: int) -> str:
    """Return what it said: words, and no code of ours."""
    try:
        said, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == code, f"{process.returncode}\n{said}"
    assert "src/perdure" not in said, said
    return said


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def runtime(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A runtime of this process whose home may be maltreated."""
    monkeypatch.setenv("PERDURE_HOME", str(home.path))
    runtime = _embedded.runtime()
    yield runtime
    if _embedded._runtime is not None:
        _embedded._runtime.shutdown()


# --- a home that is none --------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_place_of_the_home_is_named(home: Home, below: str) -> None:
    home.path.write_text("")
    home.path /= below
    for arguments in (["ls"], ["show", "x"], ["run", str(PROGRAM), "total"]):
        said = home(*arguments, code=1)
        assert "is a file" in said
        assert "PERDURE_HOME" in said


def test_a_home_that_cannot_be_read_or_written_is_named(home: Home) -> None:
    assert "result" in home.run("total", "--name", "first")
    home.before = obey_permissions
    for mode, verbs in ((0o500, ["run"]), (0o000, ["run", "ls", "show", "doctor"])):
        for path in (home.path, *(p for p in home.path.iterdir() if p.is_dir())):
            path.chmod(0o500)
        home.path.chmod(mode)
        for verb in verbs:
            arguments = {"run": [str(PROGRAM), "total", "--name", "x"], "show": ["first"]}
            said = home(verb, *arguments.get(verb, []), code=1)
            assert "Permission denied" in said or "cannot be" in said, said
            assert str(home.path) in said
    home.path.chmod(0o500)
    assert "first" in home("ls"), "reading does not need more than that"
    for path in (home.path, *(p for p in home.path.iterdir() if p.is_dir())):
        path.chmod(0o700)
    assert "result" in home("resume", "first")
    assert "result" in home.run("total")


def test_a_wrong_durability_is_told_with_what_is_right(home: Home) -> None:
    home.durability = "nonsense"
    for arguments in (["ls"], ["run", str(PROGRAM), "total"]):
        said = home(*arguments, code=2)
        assert "'nonsense'" in said
        assert '"full"' in said
    assert not home.path.exists()


# --- a journal that is none -----------------------------------------------------------------------


def garbage(journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal.write_bytes(os.urandom(50_000))


def truncated(journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(journal, 9_000)


def newer(journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA user_version = 99")


def foreign(journal: Path) -> None:
    journal.unlink()
    for left in journal.parent.glob("journal.db-*"):
        left.unlink()
    with closing(sqlite3.connect(journal)) as db:
        db.execute("CREATE TABLE theirs (x)")


def folder(journal: Path) -> None:
    journal.unlink()
    journal.mkdir()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (garbage, "is damaged"),
        (truncated, "is damaged"),
        (newer, "pip install -U perdure"),
        (foreign, "another program's database"),
        (folder, "hint"),
    ],
)
def test_a_journal_that_cannot_be_used_is_told_and_left_alone(
    home: Home, damage: Callable[[Path], None], told: str
) -> None:
    home.run("total", "--name", "first")
    damage(home.journal)
    before = home.journal.read_bytes() if home.journal.is_file() else b""
    for arguments in (["ls"], ["show", "first"], ["run", str(PROGRAM), "total"], ["doctor"]):
        said = home(*arguments, code=1)
        assert told in said or arguments == ["doctor"], said
        assert str(home.journal) in said
    assert (home.journal.read_bytes() if home.journal.is_file() else b"") == before


def test_a_journal_that_is_locked_for_a_while_is_waited_for(home: Home) -> None:
    home.run("total", "--name", "first")
    with locked(home.journal) as release:
        waiting = home.start("run", str(PROGRAM), "total", "--name", "second")
        assert "first" in home("ls"), "reading waits for nobody"
        release()
        assert "result" in said_by(waiting, 0)
    assert home.is_whole()


def test_a_journal_that_stays_locked_is_told(
    runtime: Runtime, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.shutdown()
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.2)
    impatient = _embedded.runtime()
    with locked(home.journal), pytest.raises(errors.StorageError, match="was locked by another"):
        perdure.run(h.twice, 1).result(timeout=SECONDS)
    assert perdure.run(h.twice, 1).result(timeout=SECONDS) == 2
    assert _embedded.runtime() is impatient


# --- a home that changes while it is in use -------------------------------------------------------


def test_a_home_that_is_deleted_ends_its_runs_and_another_begins(
    runtime: Runtime, home: Home, tmp_path: Path
) -> None:
    run = perdure.run(h.hold, tmp_path / "gate")
    until(lambda: run.phase == "running")
    shutil.rmtree(home.path)
    (tmp_path / "gate").touch()
    with pytest.raises(errors.PerdureError) as caught:
        run.result(timeout=SECONDS)
    assert caught.value.hint
    again = perdure.run(h.total, 4)
    assert again.result(timeout=SECONDS) == 12
    assert perdure.get_run(again.name).phase == "succeeded"
    assert home.is_whole()


def test_a_journal_overwritten_during_a_run_is_told(home: Home, tmp_path: Path) -> None:
    process = home.start("run", str(PROGRAM), "hold", "--gate", str(tmp_path / "gate"))
    until(lambda: home.journal.exists() and home.journal.with_name("journal.db-wal").exists())
    until(lambda: list((home.path / "logs").glob("*")))
    for name in ("journal.db", "journal.db-wal"):
        home.journal.with_name(name).write_bytes(os.urandom(40_000))
    (tmp_path / "gate").touch()
    assert "error" in said_by(process, 1)


def damaged(path: Path) -> None:
    path.chmod(0o600)
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes(9))


def shortened(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, 5)


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (Path.unlink, errors.BlobMissingError),
        (damaged, errors.BlobCorruptError),
        (shortened, errors.BlobCorruptError),
    ],
)
def test_a_blob_that_is_not_what_it_was_is_noticed(
    runtime: Runtime, home: Home, harm: Callable[[Path], None], error: type[Exception]
) -> None:
    run = perdure.run(h.pass_on, 200_000)
    assert len(run.result(timeout=SECONDS)) == 200_000
    (blob,) = (p for p in (home.path / "blobs").rglob("*") if p.stat().st_size > 100_000)
    harm(blob)
    with pytest.raises(error, match=r"blob .*") as caught:
        run.result(timeout=SECONDS)
    assert "perdure rerun RUN --no-recover" in str(caught.value)
    blob.unlink(missing_ok=True)
    anew = perdure.rerun(run.name, recover=False)
    assert len(anew.result(timeout=SECONDS)) == 200_000


# --- a disk that is full --------------------------------------------------------------------------


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[Home, Callable[[], None]]]:
    with small_disk(tmp_path / "disk", 2 << 20) as (before, relieve):
        home = Home(tmp_path / "disk" / "home")
        home.before = before
        yield home, relieve


@pytest.mark.parametrize(
    ("size", "told"),
    [
        # Which write meets the full disk first, the blob's or the journal's, is chance.
        (700_000, ("a blob of 700,00", "the disk of the journal")),
        (20_000, ("the disk of the journal",)),
    ],
    ids=["blob", "row"],
)
def test_a_full_disk_ends_a_run_that_can_be_resumed_with_more_space(
    full: tuple[Home, Callable[[], None]], size: int, told: tuple[str, ...]
) -> None:
    home, relieve = full
    home.run("total", "--name", "before")
    said = home.run("fill", "--count", 200, "--size", size, "--name", "fills", code=1)
    assert any(each in said for each in told)
    assert "free some space" in said or "perdure doctor" in said
    assert home.is_whole()
    assert "result" in home("show", "before")
    assert home("ls").count("fills")
    relieve()
    if size < 100_000:
        assert "result" in home("resume", "fills")
    assert "result" in home("resume", "before")
    assert "result" in home.run("total", "--name", "after")
    assert home.is_whole()


def test_a_process_that_ran_out_of_space_lets_go_of_its_runs(
    runtime: Runtime, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = runtime.journal
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "commit", refuse)
        run = perdure.run(h.total, 3)
        with pytest.raises(errors.StorageError, match="full") as caught:
            run.result(timeout=SECONDS)
        assert caught.value.run == run.name
    until(lambda: run.phase == "interrupted")
    assert "result" in home("resume", run.name), "any process may go on with it"
    assert perdure.run(h.total, 4).result(timeout=SECONDS) == 12


def refuse(*_: object) -> None:
    raise errors.StorageError("the disk is full", hint="free some space")
