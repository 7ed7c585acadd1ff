"""What people are told about runs."""

import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from perdure._core.model import Bundle, Failure, Loader, LogSpan, Outcome, Phase, TaskSpec
from perdure._journal.sqlite import SqliteJournal
from perdure._ports import ActionRow, AttemptRow, EventRow, RunEnd, RunRow
from perdure._views.model import AttemptView, EventView, TaskCount, WorkerSpan
from perdure._views.sqlite import SqliteViews
from perdure.errors import ActionNotFoundError, JournalCorruptError, JournalVersionError

KEY_ERROR = Failure("builtins.KeyError", "'month'\nmore", "Traceback: line 7", payload=b"p")
LOST = Failure("perdure.errors.WorkerLostError", "killed by signal 11", code="worker_lost")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(path, "process")
    yield journal
    journal.close()


@pytest.fixture
def views(path: Path) -> Iterator[SqliteViews]:
    views = SqliteViews(path)
    yield views
    views.close()


def new_run(journal: SqliteJournal, name: str, task: str = "flights.main") -> dict[int, int]:
    """Create and acquire a run; return the epochs to commit under."""
    row = RunRow(
        name=name,
        spec=TaskSpec(task, Loader("main", qualname="main")),
        inputs=b"inputs",
        bundle=Bundle(cwd="/project", python="cpython-3.11.7"),
        created=100.0,
    )
    run = journal.create_run(row)
    return {run: journal.acquire(run, "controller-1", lambda _: True)}


def action(seq: int, id_: str, phase: Phase, **changes: object) -> ActionRow:
    row = ActionRow(
        run=1,
        seq=seq,
        id=bytes.fromhex(id_.ljust(32, "0")),
        parent=int(seq > 1),
        task="flights.clean",
        created=100.0 + seq,
        phase=phase,
    )
    for name, value in changes.items():
        setattr(row, name, value)
    return row


@pytest.fixture
def story(journal: SqliteJournal) -> None:
    """Record run 1: a root with a success, a failure, a sleep and a queued grandchild."""
    epochs = new_run(journal, "monday")
    journal.commit(
        [
            action(1, "aa", Phase.RUNNING, task="flights.main", started=101.5, attempts=1),
            action(
                2,
                "abcd01",
                Phase.SUCCEEDED,
                code=b"c" * 16,
                inputs=b"in",
                outcome=Outcome(b"out", None, (b"o" * 32,)),
                blobs=(b"i" * 32, b"o" * 32),
                started=102.0,
                ended=104.5,
                attempts=1,
                worker=8,
                log=(LogSpan(0, 5), LogSpan(9, 12)),
                group="months",
            ),
            action(
                3,
                "abcd02",
                Phase.FAILED,
                outcome=Outcome(None, KEY_ERROR),
                started=103.0,
                ended=104.0,
                attempts=2,
                losses=1,
                worker=9,
                log=(LogSpan(70, 80),),
            ),
            action(4, "bb", Phase.WAITING, task="sleep", kind="sleep", wake_at=500.0),
            action(5, "cc", Phase.QUEUED, parent=2),
        ],
        epochs,
    )
    attempt = AttemptRow(run=1, seq=3, number=0, failure=LOST, started=101, ended=102, worker=7)
    second = AttemptRow(
        run=1,
        seq=3,
        number=1,
        failure=KEY_ERROR,
        started=102,
        ended=103,
        worker=8,
        log=(LogSpan(5, 9),),
    )
    journal.commit(
        [
            second,
            attempt,
            EventRow(run=1, seq=0, at=100.5, kind="started", text="by controller-1"),
            EventRow(run=1, seq=3, at=102.0, kind="lost", text="worker 7 is gone"),
        ],
        epochs,
    )


# --- a journal that is not there, or not for us ---------------------------------------------------


def test_missing_journal_is_one_without_runs_until_it_appears(
    path: Path, views: SqliteViews
) -> None:
    assert views.runs() == []
    assert views.run("monday") is None
    assert list(views.tree(1)) == []
    assert views.action(1, "#1") is None
    assert views.check() == []
    assert not path.exists()
    journal = SqliteJournal(path)
    new_run(journal, "monday")
    assert [run.name for run in views.runs()] == ["monday"]
    journal.close()


def test_journal_that_is_just_being_created_is_one_without_runs(
    path: Path, views: SqliteViews
) -> None:
    path.touch()
    assert views.runs() == []


@pytest.mark.filterwarnings("error")  # Python 3.13 warns of databases that are left open
def test_views_that_die_in_a_circle_close_what_they_have_opened(
    path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    new_run(journal, "monday")
    views = SqliteViews(path)
    gc.collect(0)  # what is younger than the views is finalized before them
    views.runs()
    circle: list[object] = [views]
    circle.append(circle)
    del views, circle
    gc.collect()
    assert not complaints


def test_newer_and_damaged_journals_are_refused(path: Path, journal: SqliteJournal) -> None:
    journal._db.execute("PRAGMA user_version=99")
    views = SqliteViews(path)
    with pytest.raises(JournalVersionError):
        views.runs()
    other = path.with_name("other.db")
    other.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(JournalCorruptError):
        SqliteViews(other).runs()


def test_views_cannot_write(journal: SqliteJournal, views: SqliteViews) -> None:
    with pytest.raises(OSError, match="readonly"):
        views._db.rows("DELETE FROM runs")


@pytest.mark.usefixtures("story")
def test_views_work_from_several_threads_and_after_close(views: SqliteViews) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(list(views.tree(1))))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    views.close()
    assert [*found, len(list(views.tree(1)))] == [5] * 5


@pytest.mark.usefixtures("story")
def test_sound_journal_passes_the_check(views: SqliteViews) -> None:
    assert views.check() == []


@pytest.mark.usefixtures("story")
def test_journal_that_was_closed_cleanly_is_readable(
    journal: SqliteJournal, views: SqliteViews
) -> None:
    journal.close()
    assert len(list(views.tree(1))) == 5


# --- runs -----------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_in_pages(journal: SqliteJournal, views: SqliteViews) -> None:
    for n in range(5):
        new_run(journal, f"run-{n}")
    first = views.runs(limit=2)
    assert [run.name for run in first] == ["run-4", "run-3"]
    second = views.runs(limit=2, before=first[-1].key)
    assert [run.name for run in second] == ["run-2", "run-1"]


def test_runs_are_found_by_phase_task_and_name(journal: SqliteJournal, views: SqliteViews) -> None:
    epochs = new_run(journal, "monday", "flights.main")
    new_run(journal, "tuesday", "flights.other")
    new_run(journal, "wednesday", "trains.main")
    outcome = Outcome(None, KEY_ERROR)
    journal.commit([RunEnd(run=1, phase=Phase.FAILED, at=200.0, outcome=outcome)], epochs)
    assert [run.name for run in views.runs(phase=Phase.FAILED)] == ["monday"]
    assert [run.name for run in views.runs(task="flights.*")] == ["tuesday", "monday"]
    assert [run.name for run in views.runs(name="tuesday")] == ["tuesday"]
    assert views.runs(name="tuesday", phase=Phase.FAILED) == []
    (failed,) = views.runs(name="monday")
    assert (failed.ended, failed.error) == (200.0, "KeyError: 'month'")


@pytest.mark.usefixtures("story")
def test_run_shows_everything_but_its_actions(journal: SqliteJournal, views: SqliteViews) -> None:
    run = views.run("monday")
    assert run is not None
    assert run.row == journal.load_run("monday")
    assert run.summary == views.runs()[0]
    assert (run.summary.owner, run.summary.epoch, run.summary.actions) == ("controller-1", 1, 5)
    assert (run.summary.cwd, run.summary.python) == ("/project", "cpython-3.11.7")
    assert run.events == (
        EventView(seq=0, at=100.5, kind="started", text="by controller-1"),
        EventView(seq=3, at=102.0, kind="lost", text="worker 7 is gone"),
    )


@pytest.mark.usefixtures("story")
def test_counts_add_up_by_task_kind_and_phase(views: SqliteViews) -> None:
    clean = {"task": "flights.clean", "kind": "task", "actions": 1}
    assert views.counts(1) == [
        TaskCount(**clean, phase=Phase.QUEUED, seconds=0.0),
        TaskCount(**clean, phase=Phase.SUCCEEDED, seconds=2.5),
        TaskCount(**clean, phase=Phase.FAILED, seconds=1.0),
        TaskCount(task="flights.main", kind="task", phase=Phase.RUNNING, actions=1, seconds=0.0),
        TaskCount(task="sleep", kind="sleep", phase=Phase.WAITING, actions=1, seconds=0.0),
    ]


def test_counts_join_different_codes_of_one_task(
    journal: SqliteJournal, views: SqliteViews
) -> None:
    rows = [action(n, f"a{n}", Phase.QUEUED, code=b"%d" % n * 16) for n in (1, 2)]
    journal.commit(rows, new_run(journal, "monday"))
    assert [count.actions for count in views.counts(1)] == [2]


# --- actions --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("story")
def test_tree_lists_parents_before_children(views: SqliteViews) -> None:
    tree = list(views.tree(1))
    assert [(a.seq, a.parent) for a in tree] == [(1, 0), (2, 1), (3, 1), (4, 1), (5, 2)]
    assert [a.seq for a in views.tree(1, limit=2)] == [1, 2]
    second = tree[1]
    assert (second.id, second.group, second.phase) == ("abcd01" + "0" * 26, "months", "succeeded")
    assert (tree[2].attempts, tree[2].losses, tree[2].error) == (2, 1, "KeyError: 'month'")
    assert (tree[3].kind, tree[3].wake_at) == ("sleep", 500.0)


@pytest.mark.parametrize(("limit", "count"), [(None, 2300), (1000, 1000), (1500, 1500), (0, 0)])
def test_tree_streams_runs_of_any_size(
    journal: SqliteJournal, views: SqliteViews, limit: int | None, count: int
) -> None:
    rows = [action(seq, f"{seq:08x}", Phase.QUEUED) for seq in range(1, 2301)]
    journal.commit(rows, new_run(journal, "monday"))
    assert [a.seq for a in views.tree(1, limit=limit)] == list(range(1, count + 1))


@pytest.mark.usefixtures("story")
def test_children_come_in_pages(views: SqliteViews) -> None:
    assert [a.seq for a in views.children(1, 1, limit=2)] == [2, 3]
    assert [a.seq for a in views.children(1, 1, limit=2, after=3)] == [4]
    assert [a.seq for a in views.children(1, 0, limit=9)] == [1]
    assert [a.seq for a in views.children(1, 2, limit=9)] == [5]


@pytest.mark.usefixtures("story")
def test_unfinished_and_failed_actions_are_found(views: SqliteViews) -> None:
    assert [a.seq for a in views.unfinished(1)] == [1, 4, 5]
    (failed,) = views.failures(1, 10)
    assert (failed.summary.seq, failed.failure) == (3, KEY_ERROR)
    assert views.failures(1, 0) == []


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("reference", ["#2", "abcd01", "ABCD010", "abcd01" + "0" * 26])
def test_action_is_found_by_number_or_beginning_of_its_id(
    views: SqliteViews, reference: str
) -> None:
    found = views.action(1, reference)
    assert found is not None
    assert found.summary == list(views.tree(1))[1]
    assert found.outcome == Outcome(b"out", None, (b"o" * 32,))
    assert (found.code, found.inputs, found.worker) == (b"c" * 16, b"in", 8)
    assert found.blobs == (b"i" * 32, b"o" * 32)
    assert found.log == (LogSpan(0, 5), LogSpan(9, 12))


@pytest.mark.usefixtures("story")
def test_action_tells_its_attempts_and_events(views: SqliteViews) -> None:
    found = views.action(1, "#3")
    assert found is not None
    assert found.outcome == Outcome(None, KEY_ERROR)
    assert found.attempts == (
        AttemptView(number=0, started=101, ended=102, worker=7, log=(), failure=LOST),
        AttemptView(
            number=1, started=102, ended=103, worker=8, log=(LogSpan(5, 9),), failure=KEY_ERROR
        ),
    )
    assert [event.kind for event in found.events] == ["lost"]
    unfinished = views.action(1, "#5")
    assert unfinished is not None
    assert unfinished.outcome is None


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("abcd", "several"),
        ("aa", "names no action"),
        ("", "no action"),
        ("#x", "no action"),
        ("wxyz", "no action"),
        ("abc%", "no action"),
        ("#²", "no action"),
    ],
)
def test_unclear_reference_is_refused_with_a_hint(
    views: SqliteViews, reference: str, problem: str
) -> None:
    with pytest.raises(ActionNotFoundError, match=problem) as caught:
        views.action(1, reference)
    assert "#12" in caught.value.hint


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("reference", ["#99", "#99999999999999999999999", "ffff"])
def test_absent_action_is_none(views: SqliteViews, reference: str) -> None:
    assert views.action(1, reference) is None


@pytest.mark.usefixtures("story")
def test_output_of_earlier_attempts_comes_first(views: SqliteViews) -> None:
    assert views.log_spans(1, 3) == [WorkerSpan(8, 5, 9), WorkerSpan(9, 70, 80)]
    assert views.log_spans(1, 2) == [WorkerSpan(8, 0, 5), WorkerSpan(8, 9, 12)]
    assert views.log_spans(1, 99) == []


@pytest.mark.usefixtures("story")
def test_answers_are_json_able(views: SqliteViews) -> None:
    for answer in (views.runs(), views.run("monday"), views.counts(1), views.action(1, "#3")):
        assert msgspec.json.encode(answer)
