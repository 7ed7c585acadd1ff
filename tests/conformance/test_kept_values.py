"""What every journal promises of values that are kept for all runs."""

import math

import pytest

from perdure._core.model import CacheNote, InputMark, Loader, Origin, Outcome, Phase, TaskSpec
from perdure._ports import (
    ActionRow,
    CacheAnswer,
    CacheQuery,
    CacheRow,
    Claim,
    ClaimEnd,
    Journal,
    RunRow,
)

KEY = b"k" * 16


def alive(owner: str) -> bool:
    return True


def dead(owner: str) -> bool:
    return False


def started(journal: Journal, name: str = "run") -> tuple[int, dict[int, int]]:
    """Create and acquire a run; return its key and the epochs to commit under."""
    run = journal.create_run(RunRow(name=name, spec=TaskSpec("e.main", Loader("main"))))
    return run, {run: journal.acquire(run, f"owner of {name}", alive)}


def entry(run: int, key: bytes = KEY, **changes: object) -> CacheRow:
    row = CacheRow(
        run=run,
        key=key,
        task="e.clean",
        created=100.0,
        origin=Origin("run", b"a" * 16),
        facts=b"f" * 32,
        inputs={"month": InputMark(b"d" * 16, "3"), "größe": InputMark(b"e" * 16, "'✓'")},
        value=b"value",
        blobs=(b"b" * 32,),
    )
    for name, value in changes.items():
        setattr(row, name, value)
    return row


def ask(journal: Journal, key: bytes = KEY, **query: object) -> CacheAnswer:
    (answer,) = journal.cached([CacheQuery(key, **query)], alive)  # type: ignore[arg-type]
    return answer


def value(answer: CacheAnswer) -> bytes | None:
    return None if answer.entry is None else answer.entry.value


# --- values ---------------------------------------------------------------------------------------


def test_a_kept_value_comes_back_with_all_its_fields(journal: Journal) -> None:
    run, epochs = started(journal)
    row = entry(run)
    journal.commit([row], epochs)
    found = ask(journal).entry
    row.run = 0
    assert found == row


def test_under_other_keys_there_is_nothing(journal: Journal) -> None:
    run, epochs = started(journal)
    journal.commit([entry(run)], epochs)
    assert ask(journal, b"x" * 16) == CacheAnswer()
    answers = journal.cached([CacheQuery(b"x" * 16), CacheQuery(KEY)], alive)
    assert [value(each) for each in answers] == [None, b"value"]


def test_the_newest_value_of_a_key_counts(journal: Journal) -> None:
    run, epochs = started(journal)
    journal.commit([entry(run), entry(run, value=b"second", created=101.0, blobs=())], epochs)
    assert value(ask(journal)) == b"second"
    journal.commit([entry(run, value=b"third", created=102.0)], epochs)
    assert value(ask(journal)) == b"third"


def test_values_made_too_early_do_not_count(journal: Journal) -> None:
    run, epochs = started(journal)
    journal.commit([entry(run)], epochs)
    assert value(ask(journal, since=100.0)) == b"value"
    assert ask(journal, since=100.5) == CacheAnswer(expired=True)
    assert ask(journal, since=math.inf) == CacheAnswer(expired=True)


def test_nothing_is_kept_of_a_run_whose_lease_is_lost(journal: Journal) -> None:
    run, epochs = started(journal)
    journal.acquire(run, "another", dead)
    assert journal.commit([entry(run)], epochs) == {run}
    assert ask(journal) == CacheAnswer()


def test_an_action_keeps_where_its_value_was_made_and_its_key(journal: Journal) -> None:
    run, epochs = started(journal)
    row = ActionRow(
        run=run, seq=1, id=b"i" * 16, parent=0, task="e.clean", created=1.0,
        phase=Phase.SUCCEEDED, outcome=Outcome(b"value"), ended=2.0,
        origin=Origin("earlier", b"a" * 16),
        cache=CacheNote("hit", KEY, b"f" * 32, {"month": InputMark(b"d" * 16, "3")}),
    )  # fmt: skip
    journal.commit([row], epochs)
    found = journal.lookup(run, [row.id])[row.id]
    row.fresh = False
    assert found == row


# --- clearing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ({}, []),
        ({"task": "e.clean"}, [b"2"]),
        ({"task": "e.*"}, []),
        ({"before": 101.0}, [b"2"]),
        ({"task": "e.clean", "before": 100.0}, [b"1", b"2"]),
        ({"task": "nothing"}, [b"1", b"2"]),
    ],
)
def test_clearing_forgets_what_is_asked_for(
    journal: Journal, what: dict[str, object], left: list[bytes]
) -> None:
    run, epochs = started(journal)
    keys = [b"1" * 16, b"2" * 16]
    rows = [entry(run, keys[0]), entry(run, keys[1], task="e.fit", created=101.0)]
    journal.commit(rows, epochs)
    assert journal.clear_cache(**what) == 2 - len(left)  # type: ignore[arg-type]
    assert [key[:1] for key in keys if ask(journal, key).entry] == left


# --- claims ---------------------------------------------------------------------------------------


def claim(epochs: dict[int, int], number: int = 1) -> Claim:
    ((run, epoch),) = epochs.items()
    return Claim(run, epoch, number)


def test_one_claims_a_key_and_the_others_wait_until_it_is_given_back(journal: Journal) -> None:
    run, epochs = started(journal)
    _, others = started(journal, "other")
    assert ask(journal, claim=claim(epochs)) == CacheAnswer()
    assert ask(journal, claim=claim(epochs, 2)) == CacheAnswer(held=True)
    assert ask(journal, claim=claim(others)) == CacheAnswer(held=True)
    assert ask(journal) == CacheAnswer()  # who does not mind others does not wait
    journal.commit([ClaimEnd(run=run, key=KEY, number=1)], epochs)
    assert ask(journal, claim=claim(others)) == CacheAnswer()
    assert ask(journal, claim=claim(epochs)) == CacheAnswer(held=True)


def test_other_keys_are_free(journal: Journal) -> None:
    _, epochs = started(journal)
    ask(journal, claim=claim(epochs))
    assert ask(journal, b"x" * 16, claim=claim(epochs, 2)) == CacheAnswer()


def test_a_claim_ends_with_the_value(journal: Journal) -> None:
    run, epochs = started(journal)
    ask(journal, claim=claim(epochs))
    journal.commit([entry(run)], epochs)
    assert value(ask(journal, claim=claim(epochs, 2))) == b"value"
    assert ask(journal, since=200.0, claim=claim(epochs, 3)) == CacheAnswer(expired=True)
    assert ask(journal, since=200.0, claim=claim(epochs, 4)) == CacheAnswer(expired=True, held=True)


def test_a_claim_that_was_not_the_one_that_holds_cannot_be_given_back(journal: Journal) -> None:
    run, epochs = started(journal)
    ask(journal, claim=claim(epochs))
    journal.commit([ClaimEnd(run=run, key=KEY, number=2)], epochs)
    assert ask(journal, claim=claim(epochs, 3)).held


def test_a_claim_ends_with_the_controller(journal: Journal) -> None:
    _, epochs = started(journal)
    _, others = started(journal, "other")
    ask(journal, claim=claim(epochs))
    (answer,) = journal.cached([CacheQuery(KEY, claim=claim(others))], dead)
    assert answer == CacheAnswer()


@pytest.mark.parametrize("how", ["released", "taken over"])
def test_a_claim_ends_with_the_lease_of_its_run(journal: Journal, how: str) -> None:
    run, epochs = started(journal)
    _, others = started(journal, "other")
    ask(journal, claim=claim(epochs))
    if how == "released":
        journal.release(run, epochs[run])
    else:
        journal.acquire(run, "another", dead)
    assert ask(journal, claim=claim(others)) == CacheAnswer()
