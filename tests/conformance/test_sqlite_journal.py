"""What only a journal on disk has to survive: crashes, rivals, damage, full disks, versions."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure._core.ids import digest
from perdure._core.model import Loader, Outcome, Phase, TaskSpec
from perdure._journal import schema
from perdure._journal.faults import StorageErrors
from perdure._journal.sqlite import SqliteJournal
from perdure._ports import ActionRow, RunRow
from perdure.errors import (
    JournalCorruptError,
    JournalVersionError,
    RunInUseError,
    StorageError,
)

SPEC = TaskSpec("t", Loader("main", qualname="t"))
BATCH = 7


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(path)
    yield journal
    journal.close()


def started(journal: SqliteJournal, name: str = "run") -> tuple[int, dict[int, int]]:
    run = journal.create_run(RunRow(name=name, spec=SPEC))
    return run, {run: journal.acquire(run, "me", lambda _: True)}


def rows(run: int, first: int, count: int, size: int = 1) -> list[ActionRow]:
    return [
        ActionRow(
            run=run,
            seq=seq,
            id=digest(b"%d" % seq),
            parent=0,
            task="t",
            created=1.0,
            phase=Phase.SUCCEEDED,
            outcome=Outcome(b"v" * size),
        )
        for seq in range(first, first + count)
    ]


# --- durability -----------------------------------------------------------------------------------


def test_everything_is_there_after_reopening(path: Path) -> None:
    first = SqliteJournal(path)
    run, epochs = started(first)
    first.commit(rows(run, 1, 10), epochs)
    first.close()
    second = SqliteJournal(path)
    assert second.last_seq(run) == 10
    assert len(second.lookup(run, [digest(b"%d" % seq) for seq in range(20)])) == 10
    second.close()


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("process", 1)])
def test_durability_decides_how_commits_are_synced(path: Path, durability: str, level: int) -> None:
    journal = SqliteJournal(path, durability)  # type: ignore[arg-type]
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (level,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


def writer(path: Path, name: str, commits: int) -> subprocess.Popen[bytes]:
    """Start a process that will commit to the journal, once it reads a line."""
    script = Path(__file__).with_name("journal_writer.py")
    return subprocess.Popen(
        [sys.executable, script, path, name, str(commits), str(BATCH)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_kill_in_the_middle_of_commits_leaves_whole_transactions(path: Path) -> None:
    with writer(path, "run", commits=10**9) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        for line in process.stdout:
            if int(line) == 25:
                process.kill()
                break
        acknowledged = max([25, *map(int, process.stdout.read().split())])
    journal = SqliteJournal(path)
    last = journal.last_seq(1)
    assert last >= (acknowledged + 1) * BATCH  # what was acknowledged is there
    assert last % BATCH == 0  # the last transaction is there as a whole or not at all
    assert len(journal.lookup(1, [digest(b"%d" % seq) for seq in range(1, last + 1)])) == last
    assert journal.acquire(1, "you", lambda _: False) == 2
    journal.close()


# --- rivals ---------------------------------------------------------------------------------------


def test_processes_that_create_the_journal_at_once_all_succeed(path: Path) -> None:
    processes = [writer(path, f"run-{n}", commits=30) for n in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 4
    journal = SqliteJournal(path)
    for n in range(4):
        row = journal.load_run(f"run-{n}")
        assert row is not None
        assert journal.last_seq(row.key) == 30 * BATCH
    journal.close()


def test_rival_connection_takes_over_only_from_the_dead(path: Path, journal: SqliteJournal) -> None:
    run, epochs = started(journal)
    rival = SqliteJournal(path)
    with pytest.raises(RunInUseError):
        rival.acquire(run, "rival", lambda _: True)
    assert not journal.commit(rows(run, 1, 1), epochs)
    taken = {run: rival.acquire(run, "rival", lambda _: False)}
    assert journal.commit(rows(run, 2, 1), epochs) == {run}
    assert not rival.commit(rows(run, 2, 1), taken)
    assert rival.last_seq(run) == 2
    rival.close()


def test_task_numbers_agree_between_connections(path: Path, journal: SqliteJournal) -> None:
    rival = SqliteJournal(path)
    for n, one in enumerate((journal, rival, journal)):
        run, epochs = started(one, f"run-{n}")
        one.commit(rows(run, 1, 1), epochs)
        assert one.lookup(run, [digest(b"1")])[digest(b"1")].task == "t"
    assert journal._db.execute("SELECT count(*) FROM tasks").fetchone() == (1,)
    rival.close()


def test_fork_cannot_use_the_journal_of_its_parent(journal: SqliteJournal) -> None:
    run, epochs = started(journal)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            journal.commit(rows(run, 1, 1), epochs)
        except StorageError as error:
            code = 0 if "fork" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not journal.commit(rows(run, 1, 1), epochs)


def test_journal_locked_for_too_long_names_the_likely_cause(
    path: Path, journal: SqliteJournal
) -> None:
    run, epochs = started(journal)
    journal._db.execute("PRAGMA busy_timeout=1")
    browser = sqlite3.connect(path, isolation_level=None)
    browser.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="another process"):
        journal.commit(rows(run, 1, 1), epochs)
    browser.execute("ROLLBACK")
    browser.close()
    assert not journal.commit(rows(run, 1, 1), epochs)


# --- versions and foreign files -------------------------------------------------------------------


def test_what_a_database_is_gets_read_at_once_as_another_process_may_be_creating_it(
    tmp_path: Path,
) -> None:
    path, statements = tmp_path / "journal.db", list[str]()
    SqliteJournal(path).close()
    db = sqlite3.connect(path)
    try:
        db.set_trace_callback(statements.append)
        assert schema.refuse_foreign(db, path) == len(schema.migrations())
    finally:
        db.close()
    assert len([each for each in statements if not each.startswith("--")]) == 1  # a part of it


def test_new_journal_is_marked_and_has_the_newest_version(journal: SqliteJournal) -> None:
    (application,) = journal._db.execute("PRAGMA application_id").fetchone()
    (version,) = journal._db.execute("PRAGMA user_version").fetchone()
    assert application == schema.APPLICATION_ID
    assert version == len(schema.migrations())


def _schema_of(path: Path) -> list[tuple[str]]:
    db = sqlite3.connect(path)
    found = db.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    db.close()
    return found


@pytest.mark.parametrize("version", range(1, len(schema.migrations()) + 1))
def test_journal_of_every_older_version_is_brought_up_to_date(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = schema.migrations()
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: newest[:version])
        SqliteJournal(old).close()
    SqliteJournal(old).close()
    SqliteJournal(new).close()
    assert _schema_of(old) == _schema_of(new)


def test_next_migration_is_applied_and_keeps_what_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = SqliteJournal(path)
    started(journal)
    journal.close()
    script = "CREATE TABLE extra (a);\nINSERT INTO extra VALUES (1);\n"
    scripts = [*schema.migrations(), script]
    monkeypatch.setattr(schema, "migrations", lambda: scripts)
    journal = SqliteJournal(path)
    assert journal.load_run("run") is not None
    assert journal._db.execute("SELECT a FROM extra").fetchall() == [(1,)]
    journal.close()
    SqliteJournal(path).close()  # applied once


def test_failing_migration_leaves_the_journal_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteJournal(path).close()
    before = _schema_of(path)
    scripts = [*schema.migrations(), "CREATE TABLE extra (a);\nINSERT INTO nowhere VALUES (1);\n"]
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: scripts)
        with pytest.raises(StorageError, match="nowhere"):
            SqliteJournal(path)
    assert _schema_of(path) == before
    SqliteJournal(path).close()


def test_journal_of_a_newer_release_is_refused_and_left_alone(path: Path) -> None:
    SqliteJournal(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalVersionError, match="99") as caught:
        SqliteJournal(path)
    assert "upgrade" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement", ["PRAGMA application_id=7", "CREATE TABLE theirs (a)", "PRAGMA user_version=3"]
)
def test_database_of_another_program_is_refused_and_left_alone(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute(statement)
    db.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="not a Perdure journal"):
        SqliteJournal(path)
    assert path.read_bytes() == before


# --- finding actions ------------------------------------------------------------------------------


def test_large_values_are_left_out_of_pages(journal: SqliteJournal) -> None:
    run, epochs = started(journal)
    journal.commit([*rows(run, 1, 1), *rows(run, 2, 2, size=5000)], epochs)
    page = journal.recorded(run, 0, 0)
    assert (len(page.values), len(page.others)) == (1, 2)


def test_a_run_is_resumed_without_sorting_the_ids_of_all_its_actions(path: Path) -> None:
    journal = SqliteJournal(path)
    run, epochs = started(journal)
    journal.commit([*rows(run, 1, 3000), *rows(run, 3001, 2, size=5000)], epochs)
    journal.close()
    journal = SqliteJournal(path)
    root, late = rows(run, 1, 1)[0].id, rows(run, 3002, 1)[0].id
    assert journal.lookup(run, [root])[root].seq == 1
    page = journal.recorded(run, 0, 0)
    while not page.last:
        page = journal.recorded(run, 0, page.upto)
    assert late in page.others
    assert journal.lookup(run, [late])[late].seq == 3002
    tables = journal._db.execute("SELECT name FROM sqlite_temp_master").fetchall()
    assert tables == []
    journal.close()


# --- damage ---------------------------------------------------------------------------------------


def test_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(JournalCorruptError, match=r"journal\.db") as caught:
        SqliteJournal(path)
    assert caught.value.hint
    assert path.read_bytes() == b"Dear diary, " * 1000


def test_damaged_pages_are_reported_as_such(path: Path) -> None:
    journal = SqliteJournal(path)
    run, epochs = started(journal)
    journal.commit(rows(run, 1, 2000, size=100), epochs)
    journal.close()
    with path.open("r+b") as file:
        file.seek(3 * schema.PAGE_BYTES)
        file.write(b"\xaa" * (path.stat().st_size - 4 * schema.PAGE_BYTES))
    damaged = path.read_bytes()
    with pytest.raises(JournalCorruptError, match=r"journal\.db"):  # noqa: PT012
        journal = SqliteJournal(path)
        try:
            list(journal.children(run, 0))
        finally:
            journal.close()
    assert path.read_bytes() == damaged


# --- trouble with the disk ------------------------------------------------------------------------


def test_full_disk_writes_nothing_and_the_journal_goes_on(journal: SqliteJournal) -> None:
    run, epochs = started(journal)
    journal.commit(rows(run, 1, 5), epochs)
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count={pages + 1}")
    with pytest.raises(StorageError, match="full") as caught:
        journal.commit(rows(run, 6, 500, size=500), epochs)
    assert "PERDURE_HOME" in caught.value.hint
    assert journal.last_seq(run) == 5
    journal._db.execute("PRAGMA max_page_count=1000000")
    assert not journal.commit(rows(run, 6, 500, size=500), epochs)
    assert journal.last_seq(run) == 505


class _FailingCommits:
    """A connection whose COMMIT fails like a broken disk."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        if sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return self._db.execute(sql, *parameters)  # type: ignore[arg-type]


def test_failing_sync_writes_nothing_and_the_journal_goes_on(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, epochs = started(journal)
    with monkeypatch.context() as patch:
        failing: Any = _FailingCommits(journal._db)
        patch.setattr(journal, "_errors", StorageErrors(path, failing))
        with pytest.raises(StorageError, match="disk I/O error"):
            journal.commit(rows(run, 1, 1), epochs)
    assert journal.last_seq(run) == 0
    assert not journal.commit(rows(run, 1, 1), epochs)
    assert journal.lookup(run, [digest(b"1")])[digest(b"1")].task == "t"


def test_home_that_cannot_be_created_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be created") as caught:
        SqliteJournal(tmp_path / "file" / "home" / "journal.db")
    assert "PERDURE_HOME" in caught.value.hint


def test_path_that_cannot_be_opened_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(StorageError, match=r"journal\.db") as caught:
        SqliteJournal(tmp_path / "journal.db")
    assert "PERDURE_HOME" in caught.value.hint


def test_closed_journal_says_so(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.close()
    with pytest.raises(StorageError, match="closed"):
        journal.load_run("run")
