"""What every journal promises those who record one thing for a run that nobody drives."""

import pytest

from perdure._core.model import Loader, Outcome, Phase, TaskSpec
from perdure._core.outside import answered
from perdure._ports import ActionRow, Journal, RunRow
from perdure.errors import RunInUseError

ID = b"c" * 16
YES = Outcome(b"yes", None, (b"b" * 32,))


def alive(owner: str) -> bool:
    return True


def dead(owner: str) -> bool:
    return False


def asked(journal: Journal) -> int:
    """Record a condition that waits; return the key of its run, whose driver is gone."""
    run = journal.create_run(RunRow(name="run", spec=TaskSpec("e.main", Loader("main"))))
    epochs = {run: journal.acquire(run, "driver", alive)}
    root = ActionRow(run=run, seq=1, id=b"r" * 16, parent=0, task="e.main", created=1.0)
    condition = ActionRow(
        run=run, seq=2, id=ID, parent=1, task="approve", created=2.0, started=2.0,
        kind="condition", phase=Phase.WAITING, inputs=b"question", wake_at=60.0, blobs=(b"q" * 32,),
    )  # fmt: skip
    journal.commit([root, condition], epochs)
    return run


def condition(journal: Journal, run: int) -> ActionRow:
    return journal.lookup(run, [ID])[ID]


def test_an_answer_is_recorded_with_all_that_was_asked(journal: Journal) -> None:
    run = asked(journal)
    epoch = journal.acquire(run, "", dead)
    rows = answered(condition(journal, run), YES, "me", 7.0)
    assert journal.commit(rows, {run: epoch}) == frozenset()
    row = condition(journal, run)
    assert (row.kind, row.phase, row.outcome, row.ended) == (
        "condition", Phase.SUCCEEDED, YES, 7.0,
    )  # fmt: skip
    assert (row.inputs, row.wake_at, row.blobs) == (b"question", 60.0, (b"q" * 32, b"b" * 32))


def test_a_lease_without_an_owner_is_nobodys(journal: Journal) -> None:
    run = asked(journal)
    journal.acquire(run, "", dead)
    found = journal.load_run("run")
    assert found is not None
    assert found.owner == ""
    journal.acquire(run, "", alive)
    journal.acquire(run, "another driver", alive)


def test_it_is_not_given_while_somebody_drives_the_run(journal: Journal) -> None:
    run = asked(journal)
    with pytest.raises(RunInUseError):
        journal.acquire(run, "", alive)


def test_whoever_takes_the_run_over_meanwhile_keeps_the_answer_out(journal: Journal) -> None:
    run = asked(journal)
    epoch = journal.acquire(run, "", dead)
    rows = answered(condition(journal, run), YES, "me", 7.0)
    journal.acquire(run, "another driver", alive)
    assert journal.commit(rows, {run: epoch}) == {run}
    assert condition(journal, run).outcome is None
