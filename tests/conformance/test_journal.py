"""What every journal promises, the in-memory one included: simulations stand on it."""

import copy
import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.journals import MAKERS
from perdure._core.ids import digest
from perdure._core.model import (
    Bundle,
    Demand,
    Failure,
    Loader,
    LogSpan,
    Outcome,
    Phase,
    RetryPolicy,
    SourceFile,
    TaskSpec,
    TimeoutPolicy,
)
from perdure._ports import ActionRow, AttemptRow, EventRow, Journal, Page, RunEnd, RunRow
from perdure.errors import RunConflictError, RunInUseError, RunNotFoundError, StorageError

SPEC = TaskSpec("flights.main", Loader("main", qualname="main"))
FAILURE = Failure("builtins.KeyError", "'month'", "Traceback ...", payload=b"\x80pickle")


def alive(owner: str) -> bool:
    return True


def dead(owner: str) -> bool:
    return False


def started(journal: Journal, name: str = "run-1") -> tuple[int, dict[int, int]]:
    """Create and acquire a run; return its key and the epochs to commit under."""
    run = journal.create_run(RunRow(name=name, spec=SPEC))
    return run, {run: journal.acquire(run, "me", alive)}


def action(run: int, seq: int, **changes: object) -> ActionRow:
    row = ActionRow(
        run=run, seq=seq, id=digest(b"%d/%d" % (run, seq)), parent=int(seq > 1), task="t", created=1
    )
    for name, value in changes.items():
        setattr(row, name, value)
    return row


def done(run: int, seq: int, **changes: object) -> ActionRow:
    outcome = Outcome(b"v%d" % seq)
    return action(run, seq, **({"phase": Phase.SUCCEEDED, "outcome": outcome} | changes))


def read(journal: Journal, *rows: ActionRow) -> list[ActionRow | None]:
    """Return the recorded states of the rows, in their order."""
    found = journal.lookup(rows[0].run, [row.id for row in rows])
    return [found.get(row.id) for row in rows]


def recorded(row: ActionRow) -> ActionRow:
    """Return the row as it must come back: whatever has been written is no longer fresh."""
    written = copy.copy(row)
    written.fresh = False
    return written


# --- runs -----------------------------------------------------------------------------------------


def test_run_comes_back_with_all_its_fields(journal: Journal) -> None:
    spec = TaskSpec(
        name="flights.main",
        loader=Loader("pickle", "m", "q", b"\0payload"),
        is_async=True,
        code=b"c" * 16,
        demand=Demand(0.5, 1 << 40, 2),
        retry=RetryPolicy(3, 1.5, 2.5, 30, 0.5),
        timeout=TimeoutPolicy(1.0, None, 3.0),
        env_vars=(("A", "1"), ("B", "zwei ✓")),
    )
    row = RunRow(
        name="überlauf 🛫",
        spec=spec,
        inputs=b"inputs",
        inputs_digest=b"d" * 16,
        blobs=(b"x" * 32, b"y" * 32),
        bundle=Bundle(
            main="/p/main.py",
            main_module="p.main",
            sys_path=("/p", "/q"),
            cwd="/p",
            argv=("main.py", "--x"),
            files=(SourceFile("/p/main.py", b"b" * 32),),
            python="cpython-3.11.7",
        ),
        context=b"context",
        options=b"options",
        created=1.7e9 + 0.123456,
        phase=Phase.RUNNING,
        parent="earlier",
    )
    row.key = journal.create_run(row)
    assert row.key > 0
    assert journal.load_run(row.name) == row


def test_run_that_was_never_created_is_none(journal: Journal) -> None:
    assert journal.load_run("nobody") is None


def test_second_run_of_a_name_is_refused(journal: Journal) -> None:
    journal.create_run(RunRow(name="twice", spec=SPEC, inputs=b"first"))
    with pytest.raises(RunConflictError, match="twice"):
        journal.create_run(RunRow(name="twice", spec=SPEC, inputs=b"second"))
    kept = journal.load_run("twice")
    assert kept is not None
    assert kept.inputs == b"first"


def test_changing_a_row_outside_leaves_the_journal_alone(journal: Journal) -> None:
    run, epochs = started(journal)
    row = action(run, 1)
    journal.commit([row], epochs)
    row.task = "changed"
    (found,) = read(journal, row)
    assert found is not None
    assert found.task == "t"
    found.task = "changed again"
    assert read(journal, row)[0] != found


@pytest.mark.parametrize(
    ("phase", "outcome", "ended"),
    [
        (Phase.SUCCEEDED, Outcome(b"value", None, (b"b" * 32,)), 9.5),
        (Phase.FAILED, Outcome(None, FAILURE), 9.5),
        (Phase.ABORTED, None, 9.5),
        (Phase.INTERRUPTED, None, None),
        (Phase.RUNNING, None, None),
    ],
)
def test_run_end_sets_phase_and_outcome(
    journal: Journal, phase: Phase, outcome: Outcome | None, ended: float | None
) -> None:
    run, epochs = started(journal)
    assert not journal.commit([RunEnd(run=run, phase=phase, at=9.5, outcome=outcome)], epochs)
    row = journal.load_run("run-1")
    assert row is not None
    assert (row.phase, row.outcome, row.ended) == (phase, outcome, ended)


def test_reopened_run_has_no_outcome_any_more(journal: Journal) -> None:
    run, epochs = started(journal)
    journal.commit(
        [RunEnd(run=run, phase=Phase.FAILED, at=2, outcome=Outcome(None, FAILURE))], epochs
    )
    journal.commit([RunEnd(run=run, phase=Phase.RUNNING, at=3)], epochs)
    row = journal.load_run("run-1")
    assert row is not None
    assert (row.phase, row.outcome, row.ended) == (Phase.RUNNING, None, None)


# --- leases ---------------------------------------------------------------------------------------


def test_each_acquisition_has_the_next_epoch(journal: Journal) -> None:
    run = journal.create_run(RunRow(name="r", spec=SPEC))
    assert [journal.acquire(run, "me", alive) for _ in range(3)] == [1, 2, 3]
    row = journal.load_run("r")
    assert row is not None
    assert (row.owner, row.epoch) == ("me", 3)


def test_run_of_a_live_owner_cannot_be_taken(journal: Journal) -> None:
    run, _ = started(journal)
    with pytest.raises(RunInUseError, match="me"):
        journal.acquire(run, "you", lambda owner: owner == "me")
    row = journal.load_run("run-1")
    assert row is not None
    assert (row.owner, row.epoch) == ("me", 1)


def test_lease_of_a_dead_owner_is_taken_over_with_the_next_epoch(journal: Journal) -> None:
    run, epochs = started(journal)
    assert journal.acquire(run, "you", dead) == 2
    assert journal.commit([action(run, 1)], epochs) == {run}


def test_lone_outcome_of_a_run_that_was_taken_over_is_refused(journal: Journal) -> None:
    run, epochs = started(journal)
    for seq in (1, 2):
        assert not journal.commit([done(run, seq)], epochs)
    journal.acquire(run, "you", dead)
    assert journal.commit([done(run, 3)], epochs) == {run}
    assert journal.commit([done(run, 3)], {}) == {run}
    assert [row and row.seq for row in read(journal, done(run, 2), done(run, 3))] == [2, None]


def test_commit_of_a_lone_outcome_names_other_runs_that_were_taken_over(journal: Journal) -> None:
    mine, epochs = started(journal, "mine")
    lost, lost_epochs = started(journal, "lost")
    journal.commit([done(mine, 1)], epochs)
    journal.acquire(lost, "you", dead)
    assert journal.commit([done(mine, 2)], epochs | lost_epochs) == {lost}


def test_released_run_can_be_taken_from_a_live_owner(journal: Journal) -> None:
    run, epochs = started(journal)
    journal.release(run, epochs[run])
    assert journal.acquire(run, "you", alive) == 2


def test_release_under_a_stale_epoch_changes_nothing(journal: Journal) -> None:
    run, _ = started(journal)
    epoch = journal.acquire(run, "you", dead)
    journal.release(run, epoch - 1)
    with pytest.raises(RunInUseError):
        journal.acquire(run, "me", alive)


def test_unknown_run_cannot_be_acquired(journal: Journal) -> None:
    with pytest.raises(RunNotFoundError):
        journal.acquire(99, "me", alive)


def test_failing_liveness_check_leaves_the_lease_and_the_journal_usable(journal: Journal) -> None:
    run, epochs = started(journal)

    def broken(owner: str) -> bool:
        raise OSError("no such folder")

    with pytest.raises(OSError, match="no such folder"):
        journal.acquire(run, "you", broken)
    assert not journal.commit([action(run, 1)], epochs)


# --- commits --------------------------------------------------------------------------------------


def test_stale_run_is_left_out_and_the_others_are_written(journal: Journal) -> None:
    mine, epochs = started(journal, "mine")
    lost, lost_epochs = started(journal, "lost")
    journal.acquire(lost, "you", dead)
    end = RunEnd(run=lost, phase=Phase.SUCCEEDED, at=1, outcome=Outcome(b""))
    rows = [done(lost, 1), done(mine, 1), end, done(mine, 2)]
    assert journal.commit(rows, epochs | lost_epochs) == {lost}
    assert journal.last_seq(mine) == 2
    assert journal.last_seq(lost) == 0
    row = journal.load_run("lost")
    assert row is not None
    assert row.outcome is None


def test_rows_of_a_run_that_is_not_driven_are_left_out(journal: Journal) -> None:
    run, _ = started(journal)
    assert journal.commit([action(run, 1), action(77, 1)], {}) == {run, 77}
    assert journal.last_seq(run) == 0


def test_empty_commit_still_tells_stale_runs(journal: Journal) -> None:
    run, epochs = started(journal)
    assert journal.commit([], epochs) == frozenset()
    journal.acquire(run, "you", dead)
    assert journal.commit([], epochs) == {run}


def test_refused_commit_leaves_nothing_behind(journal: Journal) -> None:
    run, epochs = started(journal)
    journal.commit([action(run, 1)], epochs)
    end = RunEnd(run=run, phase=Phase.SUCCEEDED, at=2.0, outcome=Outcome(b""))
    with pytest.raises(StorageError):
        journal.commit([end, action(run, 2, task="new"), action(run, 1)], epochs)
    assert journal.last_seq(run) == 1
    kept = journal.load_run("run-1")
    assert kept is not None
    assert kept.phase is Phase.QUEUED
    row = action(run, 2, task="new")
    assert not journal.commit([row], epochs)
    assert read(journal, row) == [recorded(row)]


def test_flushed_row_is_replaced_by_its_outcome(journal: Journal) -> None:
    run, epochs = started(journal)
    flushed = action(run, 1, phase=Phase.RUNNING, started=2.0, attempts=1)
    journal.commit([flushed], epochs)
    assert read(journal, flushed) == [recorded(flushed)]
    ended = done(run, 1, fresh=False, started=2.0, ended=3.0, attempts=2)
    journal.commit([ended], epochs)
    assert read(journal, ended) == [ended]
    assert journal.last_seq(run) == 1


def test_row_may_be_flushed_and_ended_in_one_commit(journal: Journal) -> None:
    run, epochs = started(journal)
    ended = done(run, 1, fresh=False)
    journal.commit([action(run, 1), ended], epochs)
    assert read(journal, ended) == [ended]


def test_batches_of_every_size_are_written_completely(journal: Journal) -> None:
    run, epochs = started(journal)
    rows: list[ActionRow] = []
    for size in (1, 2, 3, 63, 64, 65, 200):
        batch = [done(run, len(rows) + n) for n in range(1, size + 1)]
        journal.commit(batch, epochs)
        rows += batch
    assert read(journal, *rows) == [recorded(row) for row in rows]


def test_big_values_come_back(journal: Journal) -> None:
    run, epochs = started(journal)
    big = bytes(range(256)) * 4096
    row = done(run, 1, inputs=big, outcome=Outcome(big[::-1]))
    journal.commit([row], epochs)
    assert read(journal, row) == [recorded(row)]


def test_attempts_and_events_are_accepted_for_any_run(journal: Journal) -> None:
    run, epochs = started(journal)
    attempt = AttemptRow(run=run, seq=1, number=0, failure=FAILURE, started=1, ended=2)
    event = EventRow(run=run, seq=0, at=1.0, kind="notice", text="zurück 🛬")
    assert not journal.commit([attempt, event, event], epochs)
    assert journal.commit([attempt, event], {run: 99}) == {run}


# --- reading --------------------------------------------------------------------------------------


def test_lookup_returns_only_what_has_a_row(journal: Journal) -> None:
    run, epochs = started(journal)
    first, second = done(run, 1), action(run, 2)
    journal.commit([first, second], epochs)
    found = journal.lookup(run, [second.id, digest(b"absent"), first.id, first.id])
    assert found == {first.id: recorded(first), second.id: recorded(second)}
    assert journal.lookup(run, []) == {}


def test_lookup_sees_what_was_committed_since_the_last_one(journal: Journal) -> None:
    run, epochs = started(journal)
    first, second = action(run, 1), done(run, 2)
    journal.commit([first], epochs)
    assert read(journal, first, second) == [recorded(first), None]
    ended = done(run, 1, fresh=False)
    journal.commit([second, ended], epochs)
    assert read(journal, first, second) == [ended, recorded(second)]


def test_lookup_works_again_after_a_release(journal: Journal) -> None:
    run, epochs = started(journal)
    row = done(run, 1)
    journal.commit([row], epochs)
    read(journal, row)
    journal.release(run, epochs[run])
    assert read(journal, row) == [recorded(row)]


def test_a_run_that_was_forgotten_for_a_while_is_looked_up_as_before(journal: Journal) -> None:
    run, epochs = started(journal)
    row, more = done(run, 1), done(run, 2)
    journal.commit([row], epochs)
    journal.forget(run)  # nothing is known of it yet
    read(journal, row)
    journal.forget(run)
    assert not journal.commit([more], epochs), "the lease is kept"
    assert read(journal, row, more) == [recorded(row), recorded(more)]


def test_lookup_of_many_ids_at_once(journal: Journal) -> None:
    run, epochs = started(journal)
    rows = [done(run, seq) for seq in range(1, 1700)]
    journal.commit(rows, epochs)
    assert read(journal, *rows) == [recorded(row) for row in rows]


def test_runs_are_kept_apart(journal: Journal) -> None:
    runs = [started(journal, f"run-{n}") for n in range(5)]
    epochs = {run: epoch for _, one in runs for run, epoch in one.items()}
    same = digest(b"same id in every run")
    rows = [done(run, 1, id=same, inputs=b"%d" % run) for run in epochs]
    rows += [done(run, 2) for run in epochs]
    journal.commit(rows, epochs)
    for run in epochs:
        assert journal.lookup(run, [same])[same].inputs == b"%d" % run
        assert journal.last_seq(run) == 2
        assert [seq for _, _, seq in journal.children(run, 1)] == [2]


def test_last_seq_of_an_empty_or_unknown_run_is_zero(journal: Journal) -> None:
    run, _ = started(journal)
    assert journal.last_seq(run) == 0
    assert journal.last_seq(404) == 0


def test_children_are_the_finished_ones_of_that_parent_in_order(journal: Journal) -> None:
    run, epochs = started(journal)
    rows = [
        action(run, 1, phase=Phase.RUNNING),
        done(run, 2, task="a"),
        action(run, 3, phase=Phase.RUNNING),
        action(run, 4, phase=Phase.FAILED, outcome=Outcome(None, FAILURE), task="b"),
        done(run, 5, parent=2),
        action(run, 6, phase=Phase.ABORTED, outcome=Outcome(None, FAILURE), task="c"),
        action(run, 7, phase=Phase.RETRYING),
    ]
    journal.commit(rows, epochs)
    children = list(journal.children(run, 1))
    assert children == [(rows[i].id, rows[i].task, rows[i].seq) for i in (1, 3, 5)]
    assert list(journal.children(run, 7)) == []


def test_children_come_in_any_number_and_may_be_left_half_way(journal: Journal) -> None:
    run, epochs = started(journal)
    journal.commit([done(run, seq) for seq in range(1, 2502)], epochs)
    assert [seq for _, _, seq in journal.children(run, 1)] == list(range(2, 2502))
    assert next(iter(journal.children(run, 1)))[2] == 2
    assert not journal.commit([done(run, 2502)], epochs)


def pages(journal: Journal, run: int, parent: int) -> list[Page]:
    """Return all pages of the parent's children."""
    found = [journal.recorded(run, parent, 0)]
    while not found[-1].last:
        found.append(journal.recorded(run, parent, found[-1].upto))
    return found


def test_recorded_values_come_in_pages_and_the_rest_by_id(journal: Journal) -> None:
    run, epochs = started(journal)
    rows = [
        action(run, 1, phase=Phase.RUNNING),
        done(run, 2),
        action(run, 3, phase=Phase.RUNNING),
        action(run, 4, phase=Phase.FAILED, outcome=Outcome(None, FAILURE)),
        done(run, 5, parent=2),
        done(run, 6, kind="trace"),
    ]
    journal.commit(rows, epochs)
    found = pages(journal, run, 1)
    told = {id_: value for page in found for id_, value in page.told().items()}
    assert told == {rows[1].id: b"v2", rows[5].id: b"v6"}
    assert [id_ for page in found for id_ in page.others] == [rows[2].id, rows[3].id]
    assert [page.told() for page in pages(journal, run, 2)] == [{rows[4].id: b"v5"}]
    assert [page.told() for page in pages(journal, run, 5)] == [{}]


def test_pages_hold_every_child_once_however_many_there_are(journal: Journal) -> None:
    run, epochs = started(journal)
    rows = [done(run, seq, parent=1 + seq // 2500 % 2) for seq in range(2, 12_000)]
    journal.commit([action(run, 1), *rows], epochs)
    for parent in (1, 2):
        found = pages(journal, run, parent)
        told = [id_ for page in found for id_ in page.told()]
        assert told == [row.id for row in rows if row.parent == parent]
        assert all(page.upto < later.upto for page, later in itertools.pairwise(found))
    journal.commit([done(run, 12_000)], epochs)
    assert list(journal.recorded(run, 1, 11_999).told().values()) == [b"v12000"]


# --- values of every kind -------------------------------------------------------------------------

_numbers = st.integers(0, 2**63 - 1)
_times = st.none() | st.floats(allow_nan=False)
_blobs = st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple)
_failures = st.builds(
    Failure, st.text(), st.text(), st.text(), st.text(), st.booleans(), st.binary()
)
_outcomes = st.builds(Outcome, st.binary(), st.none(), _blobs) | st.builds(
    Outcome, st.none(), _failures, _blobs
)
_rows = st.builds(
    ActionRow,
    run=st.just(1),
    seq=st.integers(1, 2**62),
    id=st.binary(min_size=16, max_size=16),
    parent=_numbers,
    task=st.text(),
    created=st.floats(allow_nan=False),
    fresh=st.booleans(),
    code=st.just(b"") | st.binary(min_size=16, max_size=16),
    kind=st.sampled_from(["task", "trace", "sleep", "value"]),
    phase=st.sampled_from([p for p in Phase if p not in (Phase.INTERRUPTED, Phase.CACHED)]),
    inputs=st.binary(),
    outcome=st.none() | _outcomes,
    started=_times,
    ended=_times,
    attempts=_numbers,
    losses=_numbers,
    worker=_numbers,
    log=st.lists(st.builds(LogSpan, _numbers, _numbers), max_size=3).map(tuple),
    group=st.text(),
    wake_at=_times,
    blobs=_blobs,
)


@pytest.mark.parametrize("maker", sorted(MAKERS))
def test_any_row_comes_back_as_it_was(maker: str, tmp_path: Path) -> None:
    journal = MAKERS[maker](tmp_path)
    names = iter(range(10**6))

    @settings(max_examples=80, deadline=None)
    @given(st.lists(_rows, max_size=4, unique_by=(lambda r: r.seq, lambda r: r.id)))
    def round_trip(rows: list[ActionRow]) -> None:
        run, epochs = started(journal, f"run-{next(names)}")
        for row in rows:
            row.run = run
        assert not journal.commit(rows, epochs)
        if rows:
            assert read(journal, *rows) == [recorded(row) for row in rows]

    round_trip()
    journal.close()


def test_lookups_in_the_order_of_recording_see_every_change(journal: Journal) -> None:
    run, epochs = started(journal)
    rows = [done(run, seq) for seq in range(1, 301)]
    rows[249] = action(run, 250, phase=Phase.RUNNING)
    rows[259] = done(run, 260, phase=Phase.FAILED, outcome=Outcome(failure=FAILURE))
    journal.commit(rows, epochs)
    assert read(journal, *rows[:100]) == [recorded(row) for row in rows[:100]]
    ended = [done(run, 250, fresh=False), done(run, 260, fresh=False)]
    journal.commit(ended, epochs)
    rows[249], rows[259] = ended
    assert read(journal, *rows[200:]) == [recorded(row) for row in rows[200:]]
    assert read(journal, *rows[200:], *rows[200:]) == [recorded(row) for row in rows[200:]] * 2
