"""The scribe: the thread that owns the journal.

Group commit. While a transaction is being made durable, the rows of everything that happens in the
meantime gather; the next transaction takes them all. One commit at a time, no timer, no wait when
idle: a lone outcome is written at once, under load hundreds share one fsync.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from itertools import groupby
from queue import SimpleQueue
from typing import Any, TypeVar

from perdure._core.records import Row
from perdure._core.state import Action
from perdure._ports import Journal

Result = TypeVar("Result")
Batch = tuple[list[Row], list[Action], dict[int, int]]


class Scribe:
    """Serialises all use of the journal on one thread; answers on the loop.

    Args:
        journal: The journal.
        loop: Where callbacks are called.
        on_commit: Called with the actions whose outcome is recorded now, and the keys of runs that
            turned out to be driven by somebody else.
        on_error: Called when nothing can be written any more.
    """

    def __init__(
        self,
        journal: Journal,
        loop: asyncio.AbstractEventLoop,
        on_commit: Callable[[list[Action], frozenset[int]], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._journal = journal
        self._loop = loop
        self._on_commit = on_commit
        self._on_error = on_error
        self._jobs: SimpleQueue[Callable[[], None] | Batch | None] = SimpleQueue()
        self._asked = 0
        self._broken = False
        self._thread = threading.Thread(target=self._work, name="perdure-scribe", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Everything asked for so far has been done and answered."""
        return not self._asked

    def commit_here(self, rows: list[Row], finished: list[Action], epochs: dict[int, int]) -> None:
        """Write rows on the loop's own thread, which is right only while the scribe is idle."""
        try:
            stale = self._journal.commit(rows, epochs)
        except BaseException as error:
            self._on_error(error)
        else:
            self._on_commit(finished, stale)

    def commit(self, rows: list[Row], finished: list[Action], epochs: dict[int, int]) -> None:
        """Write rows; ``on_commit`` tells when they are durable."""
        self._asked += 1
        self._jobs.put((rows, finished, epochs))

    def call(self, function: Callable[..., Result], *args: Any) -> "asyncio.Future[Result]":
        """Run a function of the journal on the scribe's thread, after what was asked before."""
        answer: asyncio.Future[Result] = self._loop.create_future()

        def job() -> None:
            try:
                result = function(*args)
            except BaseException as error:
                self._tell(1, _settle, answer, None, error)
            else:
                self._tell(1, _settle, answer, result, None)

        self._asked += 1
        self._jobs.put(job)
        return answer

    def mend(self) -> None:
        """After an error has been dealt with: write again what is handed over from now on."""
        self._jobs.put(self._mended)

    def _mended(self) -> None:
        self._broken = False

    def close(self) -> None:
        """Finish what was asked for and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            for kind, group in groupby(jobs, type):
                if kind is tuple:
                    self._commit(list(group))  # type: ignore[arg-type]  # told by its type
                elif not self._answer(group):
                    return

    def _answer(self, jobs: Iterable[Callable[[], None] | Batch | None]) -> bool:
        for job in jobs:
            if not callable(job):
                return False
            job()
        return True

    def _commit(self, batches: list[Batch]) -> None:
        if self._broken:
            self._tell(len(batches), _forget)  # what follows a failed write may build on it
            return
        rows, finished, epochs = batches[0]
        for more_rows, more_finished, more_epochs in batches[1:]:
            rows += more_rows
            finished += more_finished
            epochs |= more_epochs
        try:
            stale = self._journal.commit(rows, epochs)
        except BaseException as error:
            self._broken = True
            self._tell(len(batches), self._on_error, error)
        else:
            self._tell(len(batches), self._on_commit, finished, stale)

    def _tell(self, answered: int, callback: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._told, answered, callback, args)
        except RuntimeError:
            if not self._loop.is_closed():
                raise  # a closed loop means that nobody waits for the answer any more

    def _told(self, answered: int, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._asked -= answered
        callback(*args)


def _forget() -> None:
    """What was not written is of no interest to anybody any more."""


def _settle(answer: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if answer.cancelled():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
