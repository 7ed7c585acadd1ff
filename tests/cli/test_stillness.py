"""Progress says why nothing moves, once nothing has moved for a while."""

import pytest

from perdure._core.model import Phase
from perdure._core.reasons import Asleep, Brief, Link
from perdure.cli.progress import Stillness
from perdure.client.why import Why
from perdure.errors import RunNotFoundError

NAP = Brief(run="r", number=2, id="ab" * 16, task="durable.sleep")
WHY = Why(
    run="r", action="", phase=Phase.RUNNING, summary="r is running", at=100.0,
    chain=(Link(action=NAP, phase=Phase.WAITING, attempt=0, reason=Asleep(until=160.0)),),
)  # fmt: skip
ONE = {"task": {Phase.RUNNING: 1}}
DONE = {"task": {Phase.SUCCEEDED: 1}}


class Run:
    """A run that is asked, at times of ours."""

    def __init__(self, error=None):
        self.now, self.asked, self.error = 0.0, 0, error

    def why(self):
        self.asked += 1
        if self.error:
            raise self.error
        return WHY

    def still(self):
        return Stillness(self.why, lambda: self.now)


def test_while_something_moves_nobody_asks():
    run = Run()
    still = run.still()
    for counts in (ONE, DONE, ONE, DONE):
        run.now += 2.0
        still.look(counts)
    assert (run.asked, still.line, still.cause) == (0, "", None)


def test_after_a_while_without_change_it_is_asked_and_then_now_and_again():
    run = Run()
    still = run.still()
    for _ in range(20):
        still.look(ONE)
        run.now += 0.5
    assert run.asked == 3
    assert still.line.startswith("durable.sleep #2 sleeps until")
    assert still.cause == (NAP.id, "Asleep")
    still.look(DONE)
    assert (still.line, still.cause) == ("", None)


def test_if_it_cannot_be_known_nothing_is_said():
    run = Run(RunNotFoundError("gone"))
    still = run.still()
    for _ in range(3):
        still.look(ONE)
        run.now += 5.0
    assert run.asked == 2
    assert still.line == ""


@pytest.mark.parametrize("chain", [(), WHY.chain])
def test_only_what_waits_is_told(chain):
    found = Why(run="r", action="", phase=Phase.RUNNING, summary="about to end", chain=chain)
    run = Run()
    run.why = lambda: found
    still = run.still()
    still.look(ONE)
    run.now += 5.0
    still.look(ONE)
    assert bool(still.line) == bool(chain)
