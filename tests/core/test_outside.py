"""Conditions: waiting for somebody's answer."""

from core.driver import Driver, Stage, Timeout, error, spec
from perdure._core.model import Outcome, Phase
from perdure._core.outside import ANSWERED, answered
from perdure._core.records import ActionRow, EventRow
from perdure._core.state import Action

ROOT = spec("root", is_async=True)
RETRIED = spec("root", is_async=True, retries=2)


def values(driver: Driver, condition: Action) -> list[bytes | None]:
    return [outcome.value for outcome in driver.delivered(condition.id)]


def codes(driver: Driver, condition: Action) -> list[str]:
    return [o.failure.code if o.failure else "" for o in driver.delivered(condition.id)]


def answer_offline(driver: Driver, id_: bytes, value: bytes = b"yes") -> None:
    """Another process, while nobody drives the run, records the answer under a lease of its own."""
    row = driver.recorded(id_)
    assert row is not None
    epoch = driver.journal.acquire(1, "", lambda _: False)
    rows = answered(row, Outcome(value=value), "somebody", driver.now)
    assert driver.journal.commit(rows, {1: epoch}) == frozenset()


def test_a_question_is_on_record_as_soon_as_it_is_asked() -> None:
    driver = Driver()
    condition = driver.ask(driver.start())
    row = driver.recorded(condition.id)
    assert row is not None
    assert (row.kind, row.phase, row.outcome, row.inputs) == (
        "condition", Phase.WAITING, None, b"question",
    )  # fmt: skip


def test_an_answer_is_delivered_once_it_is_recorded() -> None:
    driver = Driver()
    condition = driver.ask(driver.start())
    driver.hold_commits = True
    assert driver.signal(condition.run, condition.id) == ""
    assert values(driver, condition) == []
    driver.commit()
    assert values(driver, condition) == [b"yes"]
    assert driver.outcome(condition) == Outcome(value=b"yes")


def test_who_has_answered_is_kept() -> None:
    driver = Driver()
    condition = driver.ask(driver.start())
    driver.signal(condition.run, condition.id)
    (event,) = [row for row in driver.rows if isinstance(row, EventRow)]
    assert (event.seq, event.kind, event.text) == (condition.seq, "signal", "answered by somebody")


def test_the_first_answer_counts() -> None:
    driver = Driver()
    condition = driver.ask(driver.start())
    row = driver.recorded(condition.id)
    driver.hold_commits = True
    assert driver.signal(condition.run, condition.id) == ""
    assert driver.signal(condition.run, condition.id, b"no", row=row) == ANSWERED
    driver.commit()
    assert driver.signal(condition.run, condition.id, b"no", row=row) == ANSWERED
    assert values(driver, condition) == [b"yes"]


def test_an_answer_may_be_an_error() -> None:
    driver = Driver()
    condition = driver.ask(driver.start())
    driver.signal(condition.run, condition.id, b"")
    assert codes(driver, condition) == ["condition_failed"]


def test_a_condition_without_an_answer_ends_with_its_time() -> None:
    driver = Driver()
    condition = driver.ask(driver.start(), timeout=60.0)
    row = driver.recorded(condition.id)
    driver.after(59.0)
    assert codes(driver, condition) == []
    driver.after(2.0)
    assert codes(driver, condition) == ["condition_timedout"]
    assert driver.signal(condition.run, condition.id, row=row) == ANSWERED


def test_its_time_counts_from_the_first_time_it_was_asked() -> None:
    before = Driver()
    before.ask(before.start(ROOT), timeout=60.0)
    before.after(50.0)
    after = before.restarted()
    condition = after.ask(after.start(ROOT), timeout=60.0)
    after.after(11.0)
    assert codes(after, condition) == ["condition_timedout"]


def test_a_resumed_run_goes_on_waiting() -> None:
    before = Driver()
    before.ask(before.start(ROOT))
    after = before.restarted()
    condition = after.ask(after.start(ROOT))
    assert condition.stage is Stage.WAITING
    after.signal(condition.run, condition.id)
    assert values(after, condition) == [b"yes"]


def test_a_recorded_answer_is_found_again() -> None:
    before = Driver()
    asked = before.ask(before.start(ROOT))
    before.signal(asked.run, asked.id)
    after = before.restarted()
    condition = after.ask(after.start(ROOT))
    assert values(after, condition) == [b"yes"] or after.known(after.root()) == {asked.id: b"yes"}


def test_an_answer_given_while_nobody_drives_the_run_is_found_when_it_is_resumed() -> None:
    before = Driver()
    asked = before.ask(before.start(ROOT))
    after = before.restarted()
    answer_offline(after, asked.id)
    root = after.start(ROOT)
    assert after.known(root) == {asked.id: b"yes"}


def test_an_answer_that_comes_before_the_run_asks_again_is_not_lost() -> None:
    before = Driver()
    asked = before.ask(before.start(ROOT))
    after = before.restarted()
    root = after.start(ROOT)
    assert after.signal(root.run, asked.id) == ""
    condition = after.ask(root)
    assert values(after, condition) == [b"yes"]
    last = after.restarted()
    assert last.known(last.start(ROOT)) == {asked.id: b"yes"}


def test_nor_is_it_if_the_controller_dies_before_the_run_asks_again() -> None:
    before = Driver()
    asked = before.ask(before.start(ROOT))
    after = before.restarted()
    assert after.signal(after.start(ROOT).run, asked.id) == ""
    last = after.restarted()
    assert last.known(last.start(ROOT)) == {asked.id: b"yes"}


def test_nor_is_one_that_crosses_the_question_on_its_way_to_the_journal() -> None:
    before = Driver()
    asked = before.ask(before.start(ROOT))
    after = before.restarted()
    root = after.start(ROOT)
    after.hold_answers = after.hold_commits = True
    condition = after.ask(root)
    assert condition.stage is Stage.RECALLING
    rows = after.journal.lookup(1, [asked.id])  # read before the answer is
    assert after.signal(root.run, asked.id) == ""
    after.machine.looked_up(root.run, [asked.id], rows)
    after.settle()
    assert values(after, condition) == []
    after.commit()
    assert values(after, condition) == [b"yes"]
    assert not root.run.answers


def test_an_answer_stays_although_the_condition_is_cancelled_a_moment_later() -> None:
    before = Driver()
    asked = before.ask(before.start(ROOT))
    after = before.restarted()
    root = after.start(ROOT)
    after.hold_answers = True
    after.ask(root)
    rows = after.journal.lookup(1, [asked.id])
    assert after.signal(root.run, asked.id) == ""
    assert root.attempt is not None
    after.machine.cancel_call(root.attempt.handle, asked.id)
    after.machine.looked_up(root.run, [asked.id], rows)
    after.settle()
    row = after.recorded(asked.id)
    assert row is not None
    assert row.outcome == Outcome(value=b"yes")


def test_a_condition_that_is_not_asked_again_does_not_take_an_answer_after_the_end() -> None:
    before = Driver()
    asked = before.ask(before.start(ROOT))
    row = before.recorded(asked.id)
    after = before.restarted()
    root = after.start(ROOT)
    run = root.run
    after.hold_commits = True
    after.end(root)
    after.hold_commits = False
    assert after.signal(run, asked.id, row=row) == ANSWERED


def test_a_condition_that_failed_is_asked_anew_when_its_parent_is_tried_again() -> None:
    driver = Driver()
    root = driver.start(RETRIED)
    condition = driver.ask(root, timeout=60.0)
    driver.after(61.0)
    driver.fail(root)
    again = driver.ask(root, timeout=60.0)
    assert again.stage is Stage.WAITING
    row = driver.recorded(condition.id)
    assert row is not None
    assert (row.phase, row.outcome) == (Phase.WAITING, None)
    driver.after(59.0)
    assert again.stage is Stage.WAITING
    driver.signal(again.run, again.id)
    assert codes(driver, condition) == ["condition_timedout", ""]


def test_one_that_was_answered_with_an_error_early_is_asked_anew_too() -> None:
    before = Driver()
    asked = before.ask(before.start(RETRIED))
    after = before.restarted()
    root = after.start(RETRIED)
    assert after.signal(root.run, asked.id, b"") == ""
    first = after.ask(root)
    assert codes(after, first) == ["condition_failed"]
    after.fail(root)
    assert after.ask(root).stage is Stage.WAITING


def test_a_condition_whose_parent_was_stopped_keeps_its_time() -> None:
    middle = spec("middle", is_async=True, retries=1, timeout=Timeout(max_runtime=10.0))
    driver = Driver()
    child = driver.call(driver.start(ROOT), middle)
    driver.ask(child, timeout=60.0)
    driver.after(11.0)
    driver.fail(child, error("stopped"))
    again = driver.ask(child, timeout=60.0)
    assert again.stage is Stage.WAITING
    assert again.wake_at == 160.0


def test_a_parent_that_was_lost_finds_its_condition_waiting() -> None:
    driver = Driver()
    root = driver.start(ROOT)
    condition = driver.ask(root)
    driver.kill(root)
    assert driver.ask(root) is condition
    driver.signal(condition.run, condition.id)
    assert values(driver, condition) == [b"yes"]


def test_a_parent_that_waits_for_an_answer_gives_its_share_back() -> None:
    driver = Driver(cpu=1)
    root = driver.start(ROOT)
    driver.ask(root)
    child = driver.call(root, "child")
    assert child.stage is Stage.RUNNING


def test_a_condition_that_its_parent_left_is_cancelled_and_takes_no_answer() -> None:
    driver = Driver()
    root = driver.start(ROOT)
    condition = driver.ask(root)
    row = driver.recorded(condition.id)
    driver.hold_commits = True
    driver.end(root)
    assert driver.signal(condition.run, condition.id, row=row) == ANSWERED


def test_a_rerun_takes_over_answers_but_not_open_questions() -> None:
    first = Driver()
    root = first.start(ROOT)
    given, open_ = first.ask(root, "given"), first.ask(root, "open")
    first.signal(root.run, given.id)
    second = first.restarted()
    again = second.start(ROOT, name="rerun", recover=1)
    assert again.attempt is not None
    for old in (given, open_):
        row = ActionRow(
            run=0, seq=0, id=old.id, parent=0, task=old.name, created=second.now,
            kind="condition", inputs=b"question",
        )  # fmt: skip
        rows = first.journal.lookup(1, [old.id])
        second.hold_answers = True
        second.machine.condition(again.attempt.handle, row, None)
        second.machine.effects.lookups.clear()
        second.machine.looked_up(again.run, [old.id], rows)
        second.settle()
    assert values(second, given) == [b"yes"]
    assert again.run.actions[open_.id].stage is Stage.WAITING
    taken = second.recorded(given.id, again.run.key)
    assert taken is not None
    assert (taken.task, taken.kind, taken.inputs) == ("given", "condition", b"question")
