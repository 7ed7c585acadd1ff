"""Garbage is looked for less often while attempts hold very many futures."""

import gc
import threading
from collections.abc import Iterator

import pytest

from perdure._core.ids import digest
from perdure._core.model import Loader, TaskSpec
from perdure._serde import Encoded
from perdure._wire.messages import Assign, Message
from perdure._worker.attempt import Attempt
from perdure._worker.patience import MANY_CALLS, Patience


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[tuple[int, int, int]]:
    usual = gc.get_threshold()
    yield usual
    gc.set_threshold(*usual)


def test_it_ends_with_the_last_attempt_that_needs_it(thresholds: tuple[int, int, int]) -> None:
    patience = Patience()
    patience.begin(1)
    patience.begin(2)
    patience.end(1)
    assert gc.get_threshold()[0] > thresholds[0]
    patience.end(2)
    assert gc.get_threshold() == thresholds


def test_what_user_code_has_set_comes_back() -> None:
    patience = Patience()
    gc.set_threshold(123, 4, 5)
    patience.begin(1)
    patience.end(1)
    assert gc.get_threshold() == (123, 4, 5)


def test_what_user_code_sets_meanwhile_stays() -> None:
    patience = Patience()
    patience.begin(1)
    gc.set_threshold(123, 4, 5)
    patience.end(1)
    assert gc.get_threshold() == (123, 4, 5)


def test_a_collector_that_is_switched_off_stays_off() -> None:
    patience = Patience()
    gc.set_threshold(0)
    patience.begin(1)
    assert gc.get_threshold()[0] == 0
    patience.end(1)
    assert gc.get_threshold()[0] == 0


class Session:
    """As much of a session as an attempt needs to make calls."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.messages: list[Message] = []
        self.blobs = self.home = None
        self.underway = set()
        self.sync = False
        self.patience = Patience()

    def number(self, spec: TaskSpec) -> int:
        return 1

    def opened(self, *_: object) -> None:
        pass

    closed = posted = opened


def attempt() -> Attempt:
    return Attempt(Assign(1, 1, "run", b"a" * 16, 0, b""), "task", Session())  # type: ignore[arg-type]


def call(parent: Attempt, number: int) -> bytes:
    inputs = Encoded(b"%d" % number, digest(b"%d" % number))
    return parent.call(TaskSpec("child", Loader("module")), inputs).action_id


def test_an_attempt_has_it_from_many_open_calls_until_it_goes_on(
    thresholds: tuple[int, int, int],
) -> None:
    parent = attempt()
    ids = [call(parent, number) for number in range(MANY_CALLS - 1)]
    assert gc.get_threshold() == thresholds
    ids.append(call(parent, -1))
    assert gc.get_threshold() != thresholds
    for action in ids:
        parent.close(action, has_failed=False)
    assert gc.get_threshold() != thresholds, "their outcomes have not been looked at"
    call(parent, -2)
    assert gc.get_threshold() == thresholds


def test_an_attempt_has_it_until_it_ends(thresholds: tuple[int, int, int]) -> None:
    parent = attempt()
    for number in range(MANY_CALLS):
        call(parent, number)
    parent.finish(Encoded(b"", b""), ())
    assert gc.get_threshold() == thresholds
