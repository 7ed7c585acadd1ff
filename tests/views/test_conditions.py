"""What people are told of runs that wait for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure._core.model import Failure, Loader, Outcome, Phase, TaskSpec
from perdure._journal.sqlite import SqliteJournal
from perdure._ports import ActionRow, RunEnd, RunRow
from perdure._views.sqlite import SqliteViews


class Story:
    """A run whose actions are written one by one."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.run = journal.create_run(RunRow(name="r", spec=TaskSpec("e.main", Loader("main"))))
        self._epochs = {self.run: journal.acquire(self.run, "me", lambda _: True)}
        self._written: set[int] = set()
        journal.commit([RunEnd(run=self.run, phase=Phase.RUNNING, at=1.0)], self._epochs)

    def write(self, seq: int, kind: str, *, parent: int = 1, name: str = "e.task",
              phase: Phase = Phase.RUNNING, outcome: Outcome | None = None) -> None:  # fmt: skip
        row = ActionRow(
            run=self.run, seq=seq, fresh=seq not in self._written, id=b"%016d" % seq,
            parent=parent if seq > 1 else 0, task=name, created=float(seq), kind=kind,
            phase=phase, outcome=outcome, ended=None if outcome is None else 100.0 + seq,
            inputs=b"question", wake_at=900.0 if kind == "condition" else None,
        )  # fmt: skip
        self._written.add(seq)
        self._journal.commit([row], self._epochs)

    def end(self) -> None:
        end = RunEnd(run=self.run, phase=Phase.SUCCEEDED, at=9.0, outcome=Outcome(b"v"))
        self._journal.commit([end], self._epochs)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    journal = SqliteJournal(tmp_path / "journal.db", "process")
    yield Story(journal)
    journal.close()


@pytest.fixture
def views(tmp_path: Path, story: Story) -> Iterator[SqliteViews]:
    views = SqliteViews(tmp_path / "journal.db")
    yield views
    views.close()


def waits(views: SqliteViews) -> bool:
    (run,) = views.runs()
    detail = views.run("r")
    assert detail is not None
    assert detail.summary.waits == run.waits
    return run.waits


def test_a_run_waits_while_all_that_goes_on_in_it_asks_or_sleeps(
    story: Story, views: SqliteViews
) -> None:
    story.write(1, "task")
    assert not waits(views)
    story.write(2, "sleep", phase=Phase.WAITING)
    assert not waits(views)
    story.write(3, "condition", phase=Phase.WAITING)
    assert waits(views)
    story.write(4, "task", phase=Phase.QUEUED)
    assert not waits(views)
    story.write(5, "condition", parent=4, phase=Phase.WAITING)
    assert waits(views)
    story.write(4, "task", phase=Phase.SUCCEEDED, outcome=Outcome(b"v"))
    story.write(5, "condition", parent=4, phase=Phase.SUCCEEDED, outcome=Outcome(b"v"))
    assert waits(views)
    story.write(3, "condition", phase=Phase.SUCCEEDED, outcome=Outcome(b"v"))
    assert not waits(views)


def test_a_run_that_has_ended_does_not_wait(story: Story, views: SqliteViews) -> None:
    story.write(1, "task")
    story.write(2, "condition", phase=Phase.WAITING)
    assert waits(views)
    story.end()
    assert not waits(views)


def test_open_conditions_are_told_in_the_order_of_asking(story: Story, views: SqliteViews) -> None:
    story.write(1, "task")
    for seq, name in ((2, "approve"), (3, "level"), (4, "approve")):
        story.write(seq, "condition", name=name, phase=Phase.WAITING)
    found = views.conditions.open(story.run)
    assert [(each.seq, each.name) for each in found] == [
        (2, "approve"),
        (3, "level"),
        (4, "approve"),
    ]
    first = found[0]
    assert (first.id, first.inputs, first.created, first.wake_at, first.ended, first.outcome) == (
        b"%016d" % 2, b"question", 2.0, 900.0, None, None,
    )  # fmt: skip
    assert views.conditions.open(story.run + 1) == []


def test_answered_ones_are_found_by_name_with_their_outcome(
    story: Story, views: SqliteViews
) -> None:
    failure = Failure("perdure.errors.ConditionFailedError", "no", code="condition_failed")
    story.write(1, "task")
    story.write(2, "condition", name="approve", phase=Phase.SUCCEEDED, outcome=Outcome(b"yes"))
    story.write(3, "condition", name="approve", phase=Phase.FAILED, outcome=Outcome(None, failure))
    story.write(4, "condition", name="approve", phase=Phase.WAITING)
    story.write(5, "trace", name="approve", outcome=Outcome(b"step"), phase=Phase.SUCCEEDED)
    found = views.conditions.ended(story.run, "approve")
    assert [(each.seq, each.outcome) for each in found] == [
        (2, Outcome(b"yes")), (3, Outcome(None, failure)),
    ]  # fmt: skip
