"""A worker's end of the connection, common to both executors.

Messages are gathered and leave together in frames; *when* is the executors' business, because they
know whether more is to come. What arrives is dispatched to the attempts and, for everything that is
about starting and stopping them, to the executor.
"""

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure._api.future import Future, ThreadFuture
from perdure._api.hooks import no_state
from perdure._api.task import Task
from perdure._blobs.opening import open_blobs
from perdure._core.model import Failure, TaskSpec
from perdure._secrets import masking
from perdure._serde import Encoded
from perdure._wire.messages import (
    Absent,
    Assign,
    Began,
    Cancel,
    Define,
    Leave,
    Message,
    Recorded,
    Resolved,
    Returned,
    Revoke,
    Room,
    Shut,
    Stop,
    ToWorker,
    Worn,
)
from perdure._worker import recorded
from perdure._worker.attempt import Attempt
from perdure._worker.loader import load_task
from perdure._worker.patience import Patience
from perdure._worker.surroundings import Surroundings
from perdure._worker.wear import own_memory
from perdure.errors import SerializationError

if TYPE_CHECKING:
    from perdure._worker.main import Link

FLUSH_SECONDS = 0.001
"""How long results may be gathered while there is more to execute."""

FLUSH_MESSAGES = 64
FRAME_MESSAGES = 512
"""More messages than this are cut into frames, so that the first are acted on before the last."""

SLOW_SECONDS = 0.0003
"""Before an attempt that may take longer than this, the results of earlier ones are sent."""


class Session(ABC):
    """The connection, the tasks it has introduced, and the attempts in progress.

    Attributes:
        lock: Guards messages, attempts and their books; never held while user code runs.
        messages: Gathered, not sent yet, in order.
        attempts: Those that have started, by handle.
        blobs: Where large values live.
        home: Folder of checkpoints and reports.
        sync: Whether what is stored must survive power loss.
        devices: GPUs that belong to this process.
        underway: Steps whose code is running.
        open_queues: Names of queues in which calls need not be held back.
    """

    def __init__(self, link: "Link") -> None:
        self.lock = threading.Lock()
        self.messages: list[Message] = []
        self.attempts: dict[int, Attempt] = {}
        self.underway: set[Any] = set()
        self.open_queues: set[str] = set()
        self._learning: dict[int, Attempt] = {}
        welcome = link.welcome
        self.blobs = open_blobs(Path(welcome.blobs), welcome.storage, sync=welcome.sync)
        self.home = Path(welcome.home)
        self.sync = welcome.sync
        self.devices = welcome.devices
        self.logs = link.logs
        self.mask = masking.installed()
        self._started_state: Any = None
        self._has_state = welcome.startup is not None
        self._max_memory = welcome.max_memory
        self.surroundings = Surroundings()
        self.patience = Patience()
        self._sock: socket.socket = link.sock
        self._reader = link.reader
        self._bundle = link.welcome.bundle
        if self._bundle.pinned:
            recorded.install(self._bundle, self.blobs)
        self._numbers: dict[TaskSpec, int] = {}
        self._specs: dict[int, TaskSpec] = {}
        self._tasks: dict[int, Task[..., Any]] = {}

    # --- the worker as a whole --------------------------------------------------------------------

    @property
    def state(self) -> Any:
        """What the start-up hook has made.

        Raises:
            ConfigurationError: There is none.
        """
        if not self._has_state:
            raise no_state()
        return self._started_state

    @state.setter
    def state(self, state: Any) -> None:
        self._started_state = state

    def guarded(self, attempt: Attempt, outcome: Encoded | Failure) -> Encoded | Failure:
        """Return the outcome without secrets; also say so if the worker has grown too large."""
        if self._max_memory and own_memory() > self._max_memory:
            self._max_memory = 0
            with self.lock:
                self.messages.append(Worn())
        if self.mask is None:
            return outcome
        if isinstance(outcome, Encoded):
            try:
                self.mask.refuse(f"the result of {attempt.task}", outcome.data)
            except SerializationError as error:
                return attempt.failed(error, None)
            return outcome
        return self.mask.failure(outcome)

    def begins(self, attempt: Attempt) -> None:
        """Tell that the code of the attempt begins; not before it does, so not at once."""
        with self.lock:
            self.messages.append(Began(attempt.handle))
        self.posted()

    # --- tasks ------------------------------------------------------------------------------------

    def number(self, spec: TaskSpec) -> int:
        """Return the number of a task, introducing it first if need be. Needs the lock."""
        number = self._numbers.get(spec)
        if number is None:
            number = self._numbers[spec] = len(self._numbers) + 1
            self.messages.append(Define(number, spec))
        return number

    def load(self, number: int) -> Task[..., Any]:
        """Return the task that the controller introduced as ``number``.

        Raises:
            TaskLoadError: It cannot be imported.
        """
        task = self._tasks.get(number)
        if task is None:
            task = load_task(self._specs[number].loader, self._bundle)
            self._tasks[number] = task
        return task

    # --- what arrives -----------------------------------------------------------------------------

    def receive(self, messages: list[ToWorker]) -> None:
        """Act on the messages of a frame, in order."""
        for message in messages:
            if type(message) is Resolved:
                self._resolve(message.parent, message.id, message.value, message.failure)
            elif type(message) is Assign:
                attempt = Attempt(message, self._specs[message.task].name, self)
                if message.recorded:
                    self._learning[attempt.handle] = attempt
                self.assigned(attempt)
            elif type(message) is Recorded:
                self._learn(message)
            elif type(message) is Absent:
                self._resolve(message.parent, message.id, None, None)
            elif type(message) is Room:
                self._let_through(message)
            else:
                self._obey(message)

    def _obey(self, message: ToWorker) -> None:
        """Act on a message of a kind that is rare."""
        match message:
            case Define(task, spec):
                self._specs[task] = spec
            case Revoke(attempts):
                self.revoke(frozenset(attempts))
            case Cancel(attempt, reason):
                self.cancel(attempt, reason)
            case Leave(attempt):
                self.leave(attempt)
            case Shut(queue):
                with self.lock:
                    self.open_queues.discard(queue)
            case Stop():
                self.stop()

    def _resolve(
        self, handle: int, action: bytes, value: bytes | None, failure: Failure | None
    ) -> None:
        attempt = self.attempts.get(handle)
        if attempt is None:
            return  # it ended without waiting for this
        with self.lock:
            future = attempt.close(action, failure is not None)
        if future is not None:
            future.settle(value, failure)

    def _let_through(self, room: Room) -> None:
        attempt = self.attempts.get(room.parent)
        with self.lock:
            if room.open:
                self.open_queues.add(room.open)
            self.heard(room.parent, room.id)
            if attempt is not None and attempt.gates is not None:
                attempt.gates.let_through(room.id)
        self.posted()

    def _learn(self, message: Recorded) -> None:
        attempt = self._learning.get(message.parent)
        if attempt is None:
            return  # it ended, or was given back
        with self.lock:
            news = attempt.learn(message)
            if message.last:
                self.forget(attempt)
            else:
                attempt.make_patient()
        if news is not None:
            news.settle(None, None)
        if message.last:
            self.posted()

    @abstractmethod
    def heard(self, handle: int, action: bytes) -> None:
        """What a thread of the attempt may have waited for is here. Needs the lock."""

    def forget(self, attempt: Attempt) -> None:
        """The attempt has ended or was given back: it need not learn any more."""
        self._learning.pop(attempt.handle, None)

    @abstractmethod
    def assigned(self, attempt: Attempt) -> None:
        """Take an attempt for execution, after those taken before."""

    @abstractmethod
    def revoke(self, handles: frozenset[int]) -> None:
        """Give back those attempts that have not started; say so also if that is none."""

    @abstractmethod
    def cancel(self, handle: int, reason: str) -> None:
        """Stop an attempt, started or not."""

    @abstractmethod
    def leave(self, handle: int) -> None:
        """Leave an attempt for good, if it only waits for its calls; say so in any case."""

    @abstractmethod
    def stop(self) -> None:
        """End the worker; nothing is running."""

    # --- what leaves ------------------------------------------------------------------------------

    @abstractmethod
    def posted(self) -> None:
        """Messages have been added that should leave soon. Called without the lock."""

    def give_back(self, attempts: list[Attempt]) -> None:
        """Say that these attempts were not started. Needs the lock."""
        for attempt in attempts:
            self.forget(attempt)
            attempt.lose_patience()
        self.messages.append(Returned(tuple(attempt.handle for attempt in attempts)))

    # --- what attempts tell -----------------------------------------------------------------------

    @abstractmethod
    def opened(self, attempt: Attempt, future: Future[Any]) -> None:
        """The attempt made a call. Needs the lock."""

    @abstractmethod
    def closed(self, attempt: Attempt, future: Future[Any]) -> None:
        """A call of the attempt has its outcome or was cancelled. Needs the lock."""

    def stand_still(self, future: ThreadFuture[Any]) -> None:
        """Block this thread until the outcome of a step is committed, event loop or not."""
        self.posted()
        future.wait_here()

    def may_stand_still(self) -> bool:
        """Whether this thread may do so for a moment where user code does not expect it."""
        return True

    @abstractmethod
    def hurry(self) -> None:
        """What follows has waited long: do not gather many messages for the first frames of it."""

    @abstractmethod
    def post_now(self) -> None:
        """Messages have been added that must not wait for the end of a turn."""

    @abstractmethod
    def waiting(
        self, done: Callable[[], bool], action: bytes, *, timed: bool
    ) -> AbstractContextManager[None]:
        """A thread waits inside this block, until a child (b"": any) has made it ``done``."""


class Pace:
    """Average durations by task, to tell whether results may wait for the next attempt."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def ended(self, task: int, seconds: float) -> None:
        """An attempt of the task (by number) took that long."""
        self._seconds[task] = 0.8 * self._seconds.get(task, seconds) + 0.2 * seconds

    def quick(self, task: int) -> bool:
        """Whether the next attempt of the task will most likely end at once."""
        return self._seconds.get(task, 1.0) < SLOW_SECONDS
