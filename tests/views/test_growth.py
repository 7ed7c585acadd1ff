"""What people ask about a run costs the same however long it has become, and stays exact."""

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from perdure._core.ids import digest
from perdure._core.model import Failure, Loader, Outcome, Phase, TaskSpec
from perdure._journal import schema
from perdure._journal.sqlite import SqliteJournal
from perdure._journal.tallies import BLOCK
from perdure._ports import ActionRow, RunEnd, RunRow
from perdure._views.model import ChildGroup
from perdure._views.sqlite import SqliteViews

FAILURE = Failure("builtins.KeyError", "'month'", "")


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


def start(journal: SqliteJournal, *owners: str) -> dict[int, int]:
    run = journal.create_run(RunRow(name="r", spec=TaskSpec("main", Loader("main"))))
    return {run: [journal.acquire(run, owner, lambda _: False) for owner in owners][-1]}


def action(seq: int, phase: Phase = Phase.SUCCEEDED, **changes: object) -> ActionRow:
    row = ActionRow(
        run=1, seq=seq, id=digest(b"%d" % seq), parent=int(seq > 1), task="leaf", created=1.0,
        phase=phase,
    )  # fmt: skip
    if phase.final:
        row.started, row.ended = 2.0, 2.5
        row.outcome = Outcome(b"v") if phase is Phase.SUCCEEDED else Outcome(failure=FAILURE)
    for name, value in changes.items():
        setattr(row, name, value)
    return row


def fill(journal: SqliteJournal, count: int) -> None:
    """Record a running root with a fan-out, of which one has failed in the middle."""
    epochs = start(journal, "me")
    rows = [action(1, Phase.RUNNING, task="main")]
    rows += [action(seq) for seq in range(2, count + 1)]
    rows[count // 2] = action(count // 2 + 1, Phase.FAILED)
    for first in range(0, count, 500):
        journal.commit(rows[first : first + 500], epochs)


def check(journal: SqliteJournal, views: SqliteViews) -> None:
    """Compare with what counting everything gives."""
    rows = list(views.tree(1))
    counted = {(c.task, c.phase): (c.actions, round(c.seconds, 6)) for c in views.counts(1)}
    expected = Counter((row.task, row.phase) for row in rows)
    seconds: Counter[tuple[str, Phase]] = Counter()
    for row in rows:
        if row.started is not None and row.ended is not None:
            seconds[row.task, row.phase] += row.ended - row.started  # type: ignore[assignment]
    assert counted == {key: (n, round(seconds[key], 6)) for key, n in expected.items()}
    for parent in {row.parent for row in rows}:
        children = [row for row in rows if row.parent == parent]
        names = list(dict.fromkeys(row.group or row.task for row in children))
        groups = {name: [r for r in children if (r.group or r.task) == name] for name in names}
        assert views.groups(1, parent) == [
            ChildGroup(name=name, counts=dict(Counter(row.phase for row in group)))
            for name, group in groups.items()
        ]
        for name, group in groups.items():
            simply = (Phase.SUCCEEDED, Phase.CACHED)
            group.sort(key=lambda row: (row.phase in simply, row.seq))
            assert views.members(1, parent, name, 20) == group[:20]
        assert views.children(1, parent, 30, after=children[0].seq) == children[1:31]


# --- exact ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_exact_after_every_commit(
    journal: SqliteJournal, views: SqliteViews, seed: int
) -> None:
    choose = random.Random(seed)
    epochs = start(journal, "me")
    journal.commit([action(1, Phase.RUNNING, task="main")], epochs)
    newest, parents, open_ = 1, [1], [1]
    for _ in range(12):
        rows = []
        for _ in range(choose.randrange(1, BLOCK // 2)):
            newest += 1
            phase = choose.choice([Phase.SUCCEEDED] * 9 + [Phase.FAILED, Phase.RUNNING])
            place = {"parent": choose.choice(parents), "group": choose.choice(["", "", "g"])}
            rows.append(action(newest, phase, task=choose.choice(["leaf", "step"]), **place))
            if phase is Phase.RUNNING:
                open_.append(newest)
        parents.append(newest)
        for seq in choose.sample(open_, len(open_) // 3):  # flushed again, ended, or tried again
            before = next((row for row in rows if row.seq == seq), None) or rewritten(views, seq)
            rows.append(action(
                seq, choose.choice(list(Phase)), fresh=False, task=before.task, group=before.group,
                parent=before.parent, started=2.0,
            ))  # fmt: skip
        journal.commit(rows, epochs)
        check(journal, views)


def test_counts_are_exact_when_outcomes_are_committed_one_by_one(
    journal: SqliteJournal, views: SqliteViews
) -> None:
    epochs = start(journal, "me")
    for seq in range(1, BLOCK + 3):
        journal.commit([action(seq)], epochs)
    check(journal, views)
    with closing(sqlite3.connect(journal._path)) as db:
        assert db.execute("SELECT counted FROM runs").fetchone() == (BLOCK,)


def rewritten(views: SqliteViews, seq: int) -> ActionRow:
    detail = views.action(1, f"#{seq}")
    assert detail is not None
    before = detail.summary
    return action(seq, task=before.task, group=before.group, parent=before.parent)


def test_counts_are_exact_after_the_end_of_a_resumed_run(
    journal: SqliteJournal, views: SqliteViews
) -> None:
    epochs = start(journal, "me", "the next")
    phases = [Phase.SUCCEEDED, Phase.RUNNING, Phase.QUEUED, Phase.RETRYING]
    rows = [action(1, Phase.RUNNING, task="main")]
    rows += [action(seq, phases[seq % 4], started=2.0) for seq in range(2, 2 * BLOCK + 100)]
    journal.commit(rows, epochs)
    check(journal, views)
    journal.commit([RunEnd(run=1, phase=Phase.ABORTED, at=9.0)], epochs)
    check(journal, views)
    assert {count.phase for count in views.counts(1)} == {Phase.SUCCEEDED, Phase.ABORTED}
    assert views.unfinished(1) == []


def test_refused_commit_leaves_the_counts_alone(journal: SqliteJournal, views: SqliteViews) -> None:
    fill(journal, 2 * BLOCK)
    before = views.counts(1)
    assert journal.commit([action(2, Phase.FAILED, fresh=False)], {1: 99}) == {1}
    with pytest.raises(Exception, match="nothing was written"):
        journal.commit([action(2, Phase.FAILED, fresh=False), action(3)], {1: 1})
    assert views.counts(1) == before
    check(journal, views)


def downgraded(path: Path, version: int) -> None:
    """Make the journal at ``path`` what an earlier release would have left."""
    older, scripts = path.with_name("older.db"), schema.migrations()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: scripts[:version])
        SqliteJournal(older, "process").close()
    with closing(sqlite3.connect(older)) as db:
        db.execute("ATTACH ? AS newer", (str(path),))
        for (table,) in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'"):
            info = db.execute(f"SELECT name FROM pragma_table_info('{table}')")
            columns = ", ".join(name for (name,) in info.fetchall())
            query = f"INSERT INTO {table} ({columns}) SELECT {columns} FROM newer.{table}"
            db.execute(query)
        db.commit()
    older.replace(path)


@pytest.mark.parametrize("read_only", [False, True], ids=["written first", "read first"])
def test_journal_from_before_there_were_counts_is_counted(
    path: Path, views: SqliteViews, read_only: bool
) -> None:
    journal = SqliteJournal(path, "process")
    fill(journal, 3 * BLOCK + 10)
    before = views.counts(1)
    journal.close()
    views.close()
    downgraded(path, 1)
    if not read_only:
        SqliteJournal(path, "process").close()
    assert views.counts(1) == before
    journal = SqliteJournal(path, "process")
    journal.commit([action(seq) for seq in range(3 * BLOCK + 11, 5 * BLOCK)], {1: 1})
    check(journal, views)
    journal.close()


# --- at the same cost -----------------------------------------------------------------------------

QUESTIONS: dict[str, Callable[[SqliteViews], object]] = {
    "runs": lambda views: views.runs(),
    "run": lambda views: views.run("r"),
    "counts": lambda views: views.counts(1),
    "groups": lambda views: views.groups(1, 1),
    "groups of a leaf": lambda views: views.groups(1, 2),
    "members": lambda views: views.members(1, 1, "leaf", 20),
    "children": lambda views: views.children(1, 1, 20),
    "unfinished": lambda views: views.unfinished(1),
    "action": lambda views: views.action(1, "#7"),
    "calls": lambda views: views.lineage.calls(1),
    "samples of calls": lambda views: views.lineage.samples(1),
    "large values": lambda views: views.lineage.links(1),
    "where a large value came from": lambda views: views.lineage.origin(b"b" * 32, 2),
    "who read large values": lambda views: views.lineage.readers(1, 9),
    "artifacts": lambda views: views.artifacts.listed("a"),
}


def steps(views: SqliteViews, ask: Callable[[SqliteViews], object]) -> int:
    """Return how many instructions SQLite's machine executes for an answer, in hundreds."""
    db = views._db._connection()
    assert db is not None
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1

    ask(views)  # what is prepared once is not what is measured
    db.set_progress_handler(tick, 100)
    ask(views)
    db.set_progress_handler(None, 0)
    return count


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[SqliteViews]]:
    """A run that has just begun its third block, and one twenty times as long."""
    made = []
    for count in (2 * BLOCK + 50, 40 * BLOCK + 50):
        path = tmp_path_factory.mktemp("run") / "journal.db"
        journal = SqliteJournal(path, "process")
        fill(journal, count)
        journal.close()
        made.append(SqliteViews(path))
    yield made
    for views in made:
        views.close()


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_scans_the_run(sizes: list[SqliteViews], question: str) -> None:
    short, long = (steps(views, QUESTIONS[question]) for views in sizes)
    # a few instructions per block and one block looked into, but none per action
    assert long - short < 40 * BLOCK / 100
