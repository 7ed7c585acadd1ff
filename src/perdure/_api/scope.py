"""The one thread between the authoring API and the attempt that is being executed.

Everything users call (tasks, traces, durable values, ``ctx``) asks here which attempt it runs in.
The scope lives in a context variable, so that it follows ``asyncio`` tasks and
``asyncio.to_thread``. A plain ``threading.Thread`` starts with an empty context; since a sync
worker executes one attempt at a time, that attempt is also known to the whole process.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import Context, ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from perdure._core.artifacts import Request
from perdure._core.model import Failure, InputMark, TaskSpec
from perdure._ports import Blobs
from perdure._serde import Encoded

if TYPE_CHECKING:
    from perdure._api.future import Future
    from perdure._api.report import Report


class Scope(Protocol):
    """An attempt as the authoring API sees it; implemented by the worker.

    Attributes:
        run: Name of the run.
        action: Id of the action.
        task: Full name of its task.
        number: 0-based number of the attempt.
        replay: Whether calls may find recorded outcomes.
        depth: 0 for the root action.
        report: What it has reported so far, if anything.
        sync: Whether what is stored must survive power loss.
        underway: Steps whose code is running, of this attempt and its neighbours.
    """

    run: str
    action: bytes
    task: str
    number: int
    replay: bool
    depth: int
    report: "Report | None"
    sync: bool
    underway: set[Any]

    @property
    def home(self) -> Path:
        """Folder of checkpoints and reports."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the GPUs that it may use."""

    @property
    def blobs(self) -> Blobs:
        """Where large values live."""

    @property
    def run_created(self) -> float:
        """When the run was asked for, in wall-clock seconds: the same in all its attempts."""

    @property
    def custom_context(self) -> Mapping[str, Any]:
        """What the action was given as custom context."""

    @property
    def state(self) -> Any:
        """What the environment's start-up hook returned in this process."""

    def next_id(self, name: str, inputs: bytes) -> bytes:
        """Take the id of the next call of ``name`` with these inputs (their digest)."""

    def call(
        self, spec: TaskSpec, inputs: Encoded, marks: dict[str, InputMark] | None = None
    ) -> "Future[Any]":
        """Ask for a child action; ``marks`` say what is known of its inputs for the cache."""

    def room(self, action: bytes) -> "Future[Any] | None":
        """Return what is settled once a call is made that is held back; None if it is not.

        Calls of tasks with a queue are, where as many wait there as may.
        """

    def sleep(self, action: bytes, seconds: float) -> "Future[None]":
        """Ask for a durable sleep."""

    def condition(
        self, action: bytes, name: str, inputs: Encoded, timeout: float | None
    ) -> "Future[Any]":
        """Ask somebody outside; the future is done once the answer is recorded."""

    def lookup(self, action: bytes, name: str, *, blocking: bool = False) -> "Future[Any]":
        """Ask for a step's recorded outcome; the future's ``absent`` tells if there is none.

        ``blocking`` waits for the answer here, even on an event loop: it takes a moment only.
        """

    def record(
        self,
        action: bytes,
        name: str,
        inputs: Encoded,
        outcome: Encoded | Failure,
        started: float,
        ended: float,
        *,
        blocking: bool = False,
    ) -> "Future[Any]":
        """Record a step that ran in the caller; the future is done once it is committed."""

    def errand(
        self, action: bytes, name: str, inputs: Encoded, request: Request, *, blocking: bool = False
    ) -> "Future[Any]":
        """Ask for a step that only the controller can do; it is recorded like any other."""

    def cancel_call(self, action: bytes) -> None:
        """Cancel a child action and everything below it."""

    def looked_at(self, action: bytes) -> None:
        """The failure of this child has been seen by user code."""

    def waiting(
        self, done: Callable[[], bool], action: bytes = b"", *, timed: bool = False
    ) -> AbstractContextManager[None]:
        """The calling thread waits inside this block, until children have made it ``done``.

        ``action`` is the one child whose outcome does that; b"": any may. ``timed`` means that it
        may go on earlier, when some time is over.
        """

    def scratch(self) -> Path:
        """Return a folder for temporary files, removed when the attempt has ended."""

    def draw(self) -> int:
        """Return 0, 1, 2, ...: how many derived values this attempt has taken so far."""


_current: ContextVar[Scope | None] = ContextVar("perdure_scope", default=None)
_process_wide: Scope | None = None


def current() -> Scope | None:
    """Return the attempt this code runs in, or None outside any run."""
    return _current.get() or _process_wide


def enter(scope: Scope) -> None:
    """Make ``scope`` current in this context, for as long as the context lives."""
    _current.set(scope)


def set_process_wide(scope: Scope | None) -> None:
    """Make ``scope`` what threads without a context of their own find."""
    global _process_wide
    _process_wide = scope


def forget() -> None:
    """Be outside any run: in a child that was forked inside one."""
    _current.set(None)
    set_process_wide(None)


def of(context: Context) -> Scope | None:
    """Return the attempt that code in this context runs in."""
    return context.get(_current)
