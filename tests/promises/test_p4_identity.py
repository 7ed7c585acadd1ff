"""P4: the order in which concurrent code happens to make calls does not matter on replay."""

import random

import pytest

from core.driver import Driver, spec

CALLS = [(name, k) for name in ("a", "b", "c") for k in range(4)]


@pytest.mark.parametrize("seed", range(5))
def test_p4_calls_made_in_another_order_find_their_outcomes(seed: int) -> None:
    before = Driver(cpu=20)
    root = before.start()
    calls = {call: before.call(root, *call) for call in CALLS}
    values = {call: f"{call}".encode() for call in CALLS}
    for call, action in calls.items():
        before.end(action, values[call])
    after = before.restarted()
    root = after.start()
    shuffled = random.Random(seed).sample(CALLS, len(CALLS))
    for name, k in shuffled:
        after.machine.call(root.attempt.handle, spec(name), after.id(root, name, k), b"inputs")
        after.settle()
    assert after.started() == ["root"]
    for call in CALLS:
        (seen,) = after.delivered(calls[call].id)
        assert seen.value == values[call]


def test_p4_a_new_call_in_between_runs_and_disturbs_nothing() -> None:
    before = Driver(cpu=20)
    root = before.start()
    for call in CALLS:
        before.end(before.call(root, *call))
    after = before.restarted()
    root = after.start()
    fresh = after.call(root, "new")
    for name, k in CALLS:
        after.machine.call(root.attempt.handle, spec(name), after.id(root, name, k), b"inputs")
    after.settle()
    assert after.started() == ["root", "new"]
    after.end(fresh)
    assert after.outcome(fresh) is not None
