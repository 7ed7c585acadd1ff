"""What a worker is told of recorded calls arrives at any moment, also at the worst."""

import threading

import pytest

from perdure._api.future import ThreadFuture
from perdure._wire.messages import Assign, Message, MoreRecorded, Recorded
from perdure._worker.attempt import Attempt
from perdure._worker.known import Known

WANTED = b"w" * 16


class Session:
    """As much of a session as an attempt needs to be told things."""

    def __init__(self, pages: list[Recorded]) -> None:
        self.lock = threading.Lock()
        self.messages: list[Message] = []
        self.blobs = self.home = None
        self.underway = set()
        self.sync = False
        self.pages = pages
        self.attempt: Attempt

    def may_stand_still(self) -> bool:
        return True

    def post_now(self) -> None:
        pass

    def arrive(self) -> None:
        news = self.attempt.learn(self.pages.pop(0))
        if news is not None:
            news.settle(None, None)

    def stand_still(self, future: ThreadFuture[None]) -> None:
        assert self.messages == [MoreRecorded(1)], "nobody is going to send anything"
        self.messages.clear()
        self.arrive()
        assert future.done()


def test_values_that_come_just_before_the_wait_for_them_are_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = Session([Recorded(1, b"x" * 16, [b"x"], False), Recorded(1, WANTED, [b"v"], True)])
    assign = Assign(1, 1, "run", b"a" * 16, 0, b"", recorded=True)
    attempt = session.attempt = Attempt(assign, "task", session)  # type: ignore[arg-type]
    ask = Attempt._ask

    def and_then_some_come(self: Attempt, known: Known) -> None:
        ask(self, known)
        if len(session.pages) == 2:
            session.arrive()

    monkeypatch.setattr(Attempt, "_ask", and_then_some_come)
    assert attempt._claim(WANTED) == b"v"
