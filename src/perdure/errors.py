"""Every error Perdure raises, in one tree.

::

    PerdureError
    ├── ConfigurationError         an option or argument makes no sense     (ValueError)
    ├── NotSupportedError          an option this version or engine lacks   (NotImplementedError)
    ├── TypeCheckError             a value does not fit its type hint       (TypeError)
    ├── SecretNotFoundError        a secret is in none of its sources       (LookupError)
    ├── QueueError
    │   ├── QueueNotFoundError     nobody has declared the queue            (LookupError)
    │   └── QueueFullError         as many runs wait there as may
    ├── SerializationError         a value cannot be turned into bytes      (TypeError)
    ├── SyncTaskCallInAsyncContextError   a blocking call on an event loop  (RuntimeError)
    ├── TaskLoadError              a worker cannot import the task          (ImportError)
    ├── ExecutionError             an action ended without its own outcome
    │   ├── TaskTimeoutError       max_runtime, max_queued_time, deadline   (TimeoutError)
    │   ├── OutOfMemoryError       the attempt used too much memory         (MemoryError)
    │   ├── WorkerLostError        the process died: segfault, os._exit, SIGKILL
    │   ├── CancelledError         cancelled or aborted
    │   ├── ConditionTimedoutError nobody answered a condition in time      (TimeoutError)
    │   ├── ConditionFailedError   a condition was answered with an error
    │   ├── InfeasibleError        no node could ever satisfy the request
    │   ├── EnvironmentBuildError  what an image asks for cannot be installed
    │   │   └── EnvironmentUnavailableError   a package index cannot be reached
    │   ├── NestingTooDeepError    tasks calling tasks without end          (RecursionError)
    │   └── RemoteError            stand-in for an exception that could not be carried over
    ├── NonRecoverableError        raise it in a task to stop retries
    ├── ReplayDivergedError        recorded children were not called again
    ├── RunError
    │   ├── RunNotFoundError       no such run                              (LookupError)
    │   ├── ActionNotFoundError    no such action in the run                (LookupError)
    │   ├── ConditionNotFoundError no such condition in the run             (LookupError)
    │   ├── ConditionAnsweredError the condition does not wait for an answer any more
    │   ├── RunConflictError       the name is taken by another task or other inputs
    │   ├── RunInUseError          another live process drives the run
    │   ├── RunAbortedError        the run was aborted
    │   └── RunInterruptedError    the run was stopped before its end; it can be resumed
    ├── ArtifactError
    │   ├── ArtifactNotFoundError  no such artifact or version              (LookupError)
    │   └── ArtifactConflictError  the version exists with another content
    ├── StorageError               home, journal or blobs cannot be used    (OSError)
    │   ├── JournalCorruptError    the journal is damaged
    │   ├── JournalVersionError    the journal belongs to a newer release
    │   ├── BlobMissingError       bytes a value refers to are gone
    │   ├── BlobCorruptError       bytes no longer match their digest
    │   ├── FileMissingError       a file, folder or object is not there    (FileNotFoundError)
    │   ├── StorageAccessError     credentials or permissions do not allow it (PermissionError)
    │   └── StorageUnavailableError   a store cannot be reached, or keeps failing
    ├── LeaseLostError             another controller has taken the run over
    └── ProtocolError              a peer spoke another protocol or had no valid token

In brackets: the built-in class that it also is.

Each class has a stable ``code``, a ``retryable`` default and, per instance, a ``hint`` that says
what to do next. All of them pickle, and ``to_dict`` makes them JSON.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

_Error = TypeVar("_Error", bound=BaseException)

HINT = "\n  hint: "
"""Comes between what happened and what to do next, in the text of an error."""


class PerdureError(Exception):
    """Root of the tree: what happened, where, and what to do next.

    Attributes:
        message: What happened, in one or a few sentences.
        hint: What to do next; may be empty.
        run: Name of the run concerned, or "".
        action: Id (hex) of the action concerned, or "".
        task: Name of the task concerned, or "".
        code: Stable identifier of the kind of error.
        retryable: Whether trying again could help; retry policies start from it.
        advice: The hint of instances that are given none.
    """

    code: ClassVar[str] = "perdure"
    retryable: ClassVar[bool] = False
    advice: ClassVar[str] = ""

    def __init__(
        self, message: str = "", *more: str,
        hint: str = "", run: str = "", action: str = "", task: str = "",
    ) -> None:  # fmt: skip
        # Flyte 2's errors take a code, then what happened; or anything.
        message = ": ".join(map(str, (message, *more)))
        super().__init__(message)
        self.message = message
        self.hint = hint or self.advice
        self.run = run
        self.action = action
        self.task = task

    def locate(self, *, run: str, action: str, task: str) -> None:
        """Say where it happened, as far as it does not know yet."""
        self.run = self.run or run
        self.action = self.action or action
        self.task = self.task or task

    def __str__(self) -> str:
        where = ", ".join(
            f"{name} {value}"
            for name, value in (("run", self.run), ("task", self.task), ("action", self.action))
            if value
        )
        text = f"{self.message} [{where}]" if where else self.message
        return text + HINT + self.hint if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.__dict__ | {"message": self.message}))

    def to_dict(self) -> dict[str, Any]:
        """Return the error as plain JSON-able data."""
        return {"error": type(self).__name__, "code": self.code, "retryable": self.retryable} | {
            k: v for k, v in self.__dict__.items() if not k.startswith("_") and v != ""
        }


def _rebuild(cls: type[PerdureError], state: dict[str, Any]) -> PerdureError:
    error = bare(cls, [state["message"]])
    error.__dict__.update(state)
    return error


def bare(cls: type[_Error], args: Sequence[Any]) -> _Error:
    """Make an exception of which only the built-in part is initialised."""
    # Its own constructor is that of the base it is laid out for, and not always of the first in the
    # order of resolution: what is below both Exception and MemoryError is an Exception there.
    base: type = cls
    while base.__module__ != "builtins":
        assert base.__base__ is not None  # the last one is object, and built in
        base = base.__base__
    error: _Error = base.__new__(cls, *args)
    base.__init__(error, *args)  # type: ignore[misc]
    return error


class ConfigurationError(PerdureError, ValueError):
    """An option or argument makes no sense."""

    code = "configuration"


class NotSupportedError(PerdureError, NotImplementedError):
    """A known option that this version or the chosen engine does not honour."""

    code = "not_supported"


class TypeCheckError(PerdureError, TypeError):
    """A value does not fit the type hint of a parameter or result."""

    code = "type_check"


class SecretNotFoundError(PerdureError, LookupError):
    """A secret that a task needs is in none of the places that were asked."""

    code = "secret_not_found"
    advice = "perdure secret set NAME keeps it in PERDURE_HOME; or set an environment variable"


class QueueError(PerdureError):
    """Something about a queue."""

    code = "queue"


class QueueNotFoundError(QueueError, LookupError):
    """Nobody has declared a queue of that name."""

    code = "queue_not_found"
    advice = "perdure queue ls shows the queues there are"


class QueueFullError(QueueError):
    """As many runs wait in the queue as its depth allows."""

    code = "queue_full"
    retryable = True
    advice = "submit it later, when others have begun"


class SerializationError(PerdureError, TypeError):
    """A value cannot be turned into bytes, or bytes into a value."""

    code = "serialization"


class SyncTaskCallInAsyncContextError(PerdureError, RuntimeError):
    """A blocking call of a ``def`` task was made on an event loop; use ``.aio``."""

    code = "sync_call_in_async_context"


class TaskLoadError(PerdureError, ImportError):
    """A worker cannot import the task."""

    code = "task_load"


class ExecutionError(PerdureError):
    """An action ended without its function's own outcome."""

    code = "execution"


class TaskTimeoutError(ExecutionError, TimeoutError):
    """A time limit passed.

    Attributes:
        limit: Which one: ``max_runtime``, ``max_queued_time``, ``deadline``, or ``on_start``, that
            of a start-up hook.
    """

    code = "timeout"
    retryable = True
    advice = "raise the limit in timeout=, or look at what took so long: perdure logs RUN ACTION"
    limit: str = ""


class OutOfMemoryError(ExecutionError, MemoryError):
    """The attempt used more memory than it may, or than there is.

    Attributes:
        request: Bytes it might use: what it had asked for, and at least 32 MiB. 0 if it had not
            asked, or not used more than that.
        peak: The most it was seen to use, likewise.
    """

    code = "out_of_memory"
    retryable = True
    advice = (
        "work on smaller pieces, or ask for more: Resources(memory=...); "
        'RetryStrategy(on_oom=Resources(memory="x2")) does when it is needed'
    )
    request: int = 0
    peak: int = 0


class WorkerLostError(ExecutionError):
    """The worker process died while it executed the attempt."""

    code = "worker_lost"
    retryable = True
    advice = (
        "what it wrote last is in: perdure logs RUN ACTION; retries=1 at the task makes up for an "
        "accident, if it was one"
    )


class CancelledError(ExecutionError):
    """The action was cancelled or aborted."""

    code = "cancelled"


class ConditionTimedoutError(ExecutionError, TimeoutError):
    """Nobody answered a condition in time."""

    code = "condition_timedout"


class ConditionFailedError(ExecutionError):
    """A condition was answered with an error, whose message this is."""

    code = "condition_failed"


class InfeasibleError(ExecutionError):
    """No node could ever satisfy the resource request."""

    code = "infeasible"
    advice = "lower resources= of the task, or run it on a larger machine"


class EnvironmentBuildError(ExecutionError):
    """What the image of a task asks for cannot be installed; the message is the resolver's."""

    code = "environment_build"
    advice = "perdure build FILE tries again, and shows what uv says"


class EnvironmentUnavailableError(EnvironmentBuildError):
    """What the image of a task asks for could not be fetched: a package index was not reached."""

    code = "environment_unavailable"
    retryable = True
    advice = "is the network up? what was fetched before is kept; try again"


class NestingTooDeepError(ExecutionError, RecursionError):
    """Tasks call tasks deeper than the limit: most likely a recursion without end."""

    code = "nesting_too_deep"


class RemoteError(ExecutionError):
    """Stand-in for a remote exception whose class or state could not be carried over.

    Attributes:
        type_name: Qualified name of the original class.
    """

    code = "remote"
    type_name: str = ""


class NonRecoverableError(PerdureError):
    """Raise it (or a subclass) in a task to fail without further retries."""

    code = "non_recoverable"

    def __str__(self) -> str:
        return self.message  # users' words: they find what they put there, wherever it is caught


class ReplayDivergedError(PerdureError):
    """A replayed parent did not call children that are recorded for it."""

    code = "replay_diverged"


class RunError(PerdureError):
    """Something about a run as a whole."""

    code = "run"


class RunNotFoundError(RunError, LookupError):
    """There is no run of that name."""

    code = "run_not_found"


class ActionNotFoundError(RunError, LookupError):
    """The run has no such action."""

    code = "action_not_found"


class ConditionNotFoundError(RunError, LookupError):
    """The run has no such condition that waits for an answer."""

    code = "condition_not_found"


class ConditionAnsweredError(RunError):
    """The condition has its answer, or does not wait for one any more."""

    code = "condition_answered"


class RunConflictError(RunError):
    """The name belongs to a run of another task or of other inputs."""

    code = "run_conflict"


class RunInUseError(RunError):
    """Another live process drives the run."""

    code = "run_in_use"


class RunAbortedError(RunError):
    """The run was aborted."""

    code = "run_aborted"


class RunInterruptedError(RunError):
    """The run was stopped before it finished; it can be resumed."""

    code = "run_interrupted"


class ArtifactError(PerdureError):
    """Something about artifacts."""

    code = "artifact"


class ArtifactNotFoundError(ArtifactError, LookupError):
    """There is no artifact of that name, or no such version of it."""

    code = "artifact_not_found"
    advice = "perdure artifact ls shows what there is"


class ArtifactConflictError(ArtifactError):
    """A version or tag is taken: what is published never changes."""

    code = "artifact_conflict"
    advice = "leave version out to get the next number, or choose a name that is free"


class StorageError(PerdureError, OSError):
    """The home folder, the journal or a blob cannot be read or written."""

    code = "storage"


class JournalCorruptError(StorageError):
    """The journal is damaged."""

    code = "journal_corrupt"


class JournalVersionError(StorageError):
    """The journal was written by a newer release."""

    code = "journal_version"


class BlobMissingError(StorageError):
    """Bytes a value refers to are gone."""

    code = "blob_missing"


class BlobCorruptError(StorageError):
    """Bytes no longer match their digest."""

    code = "blob_corrupt"


class FileMissingError(StorageError, FileNotFoundError):
    """A file, folder or object that was named is not there."""

    code = "file_missing"


class StorageAccessError(StorageError, PermissionError):
    """Credentials or permissions do not allow it."""

    code = "storage_access"


class StorageUnavailableError(StorageError):
    """A store cannot be reached, or keeps failing."""

    code = "storage_unavailable"
    retryable = True


class LeaseLostError(PerdureError):
    """Another controller has taken the run over; this one must stop driving it."""

    code = "lease_lost"


class ProtocolError(PerdureError):
    """A peer spoke another protocol version or had no valid token."""

    code = "protocol"


def by_code(code: str) -> type[PerdureError]:
    """Return the class with the given ``code``, or :class:`PerdureError` if there is none."""
    return _BY_CODE.get(code, PerdureError)


def _descendants(cls: type[PerdureError]) -> list[type[PerdureError]]:
    return [cls, *(d for sub in cls.__subclasses__() for d in _descendants(sub))]


_BY_CODE = {cls.code: cls for cls in _descendants(PerdureError)}


_FLYTE_NAMES: dict[str, type[BaseException]] = {
    # A task's own exception arrives as it is, so what stands for all of them is Exception.
    "BaseRuntimeError": Exception,
    "RuntimeUserError": Exception,
    "ActionAbortedError": CancelledError,
    "CustomError": Exception,
    "DeadlineExceededError": TaskTimeoutError,
    "ImageBuildError": EnvironmentBuildError,
    "InitializationError": ConfigurationError,
    "MaxQueuedTimeExceededError": TaskTimeoutError,
    "MaxRuntimeExceededError": TaskTimeoutError,
    "ModuleLoadError": TaskLoadError,
    "OOMError": OutOfMemoryError,
    "RuntimeDataValidationError": TypeCheckError,
    "RuntimeSystemError": WorkerLostError,
    "RuntimeUnknownError": RemoteError,
    "TaskInterruptedError": WorkerLostError,
}
"""What Flyte 2 calls them, so that its users' ``except`` clauses catch the same things."""


def __getattr__(name: str) -> type[BaseException]:
    if name in _FLYTE_NAMES:
        return _FLYTE_NAMES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
