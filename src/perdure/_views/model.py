"""Shapes that views return: plain, read-only, and JSON-able with :func:`msgspec.json.encode`."""

import msgspec

from perdure._core.model import (
    CacheNote,
    Failure,
    InputMark,
    LogSpan,
    Origin,
    Outcome,
    Phase,
)
from perdure._core.records import RunRow
from perdure._core.sharing import QueueLimits, Stake


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list.

    Attributes:
        key: Number of the run in the journal; grows with time.
        name: Unique name.
        task: Name of the root task.
        phase: As recorded; without a live ``owner``, one that is not final means interrupted.
        owner: Controller that holds the lease, "" if none.
        epoch: How many times the run was acquired.
        created: Wall-clock seconds; ``ended`` likewise, None while it is open.
        error: First line of the failure, "" if none.
        parent: Run it was rerun from, or "".
        cwd: Folder it was started in.
        python: Python it was started with.
        actions: Actions recorded so far.
        cached: Its result was taken from the cache.
        waits: It goes on when a condition is answered, and not before.
    """

    key: int
    name: str
    task: str
    phase: Phase
    owner: str
    epoch: int
    created: float
    ended: float | None
    error: str
    parent: str
    cwd: str
    python: str
    actions: int
    cached: bool = False
    waits: bool = False


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """A notice about a run, or about its action at ``seq`` if that is not 0."""

    seq: int
    at: float
    kind: str
    text: str


class RunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All of a run but its actions."""

    summary: RunSummary
    row: RunRow
    events: tuple[EventView, ...]


class TaskCount(msgspec.Struct, frozen=True, kw_only=True):
    """Actions of a run that share task, kind and phase.

    Attributes:
        task: Task or step name.
        kind: ``task``, ``trace``, ``sleep``, ``condition`` or ``value``.
        phase: Their phase.
        actions: How many.
        seconds: Time from start to end, summed over those that ended.
    """

    task: str
    kind: str
    phase: Phase
    actions: int
    seconds: float


class ChildGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The children of one action that belong together.

    Attributes:
        name: Their display group, or their task if they have none.
        counts: All of them, by phase.
    """

    name: str
    counts: dict[Phase, int]


class ActionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An action in a tree or list.

    Attributes:
        seq: Place in the run, from 1; shown as ``#12``.
        parent: ``seq`` of the parent, 0 for the root. Always smaller than ``seq``.
        id: Identity, in hex.
        task: Task or step name.
        kind: ``task``, ``trace``, ``sleep``, ``condition`` or ``value``.
        phase: As recorded; ``cached`` if it succeeded with a value of the cache.
        created: Wall-clock seconds; ``started`` and ``ended`` likewise, None when not reached.
        attempts: Attempts charged to the retry budget.
        losses: Attempts lost to no fault of the action.
        group: Display group, or "".
        wake_at: When a durable sleep ends, the time for an answer is over, or the first sleep that
            a parked action waits for.
        error: First line of the failure, "" if none.
    """

    seq: int
    parent: int
    id: str
    task: str
    kind: str
    phase: Phase
    created: float
    started: float | None
    ended: float | None
    attempts: int
    losses: int
    group: str
    wake_at: float | None
    error: str


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that did not end its action: it failed and was tried again, or was lost."""

    number: int
    started: float
    ended: float
    worker: int
    log: tuple[LogSpan, ...]
    failure: Failure


class ActionDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All of an action.

    Attributes:
        summary: What lists show.
        code: Fingerprint of the task's body.
        inputs: Encoded inputs.
        outcome: Encoded value or failure, None while unfinished.
        blobs: Blobs that inputs and outcome refer to.
        worker: Number of the worker of the last attempt, 0 if none.
        log: Ranges of that worker's log.
        attempts: Earlier attempts.
        events: Notices about it.
        origin: Where its value was made, if it was taken from the cache.
        cache: What is known of its cache key, if the cache was asked.
    """

    summary: ActionSummary
    code: bytes
    inputs: bytes
    outcome: Outcome | None
    blobs: tuple[bytes, ...]
    worker: int
    log: tuple[LogSpan, ...]
    attempts: tuple[AttemptView, ...]
    events: tuple[EventView, ...]
    origin: Origin | None = None
    cache: CacheNote | None = None


class CachedValue(msgspec.Struct, frozen=True, kw_only=True):
    """A kept value, as far as its key is concerned.

    Attributes:
        key: The key.
        created: Wall-clock seconds.
        origin: The action that made it.
        facts: Blob that tells what the key is made of, inputs aside.
        inputs: What the key says of each input.
    """

    key: bytes
    created: float
    origin: Origin
    facts: bytes
    inputs: dict[str, InputMark]


class CachedTask(msgspec.Struct, frozen=True, kw_only=True):
    """The kept values of a task.

    Attributes:
        task: Full name.
        values: How many there are.
        oldest: When the oldest was made, in wall-clock seconds; ``newest`` likewise.
    """

    task: str
    values: int
    oldest: float
    newest: float


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """A queue as the journal has it.

    Attributes:
        limits: What was declared last.
        declared: When, in wall-clock seconds.
        stakes: What controllers have of it, those that are gone included.
    """

    limits: QueueLimits
    declared: float
    stakes: list[Stake]


class ActionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What an action was asked and what came out, to be compared with others.

    Attributes:
        seq: Place in the run.
        parent: ``seq`` of the parent, 0 for the root.
        id: Identity, 16 bytes.
        task: Task or step name.
        phase: As recorded.
        inputs: Encoded inputs.
        value: Encoded value, None if there is none.
        failure: Why it failed, None if it did not.
        created: Wall-clock seconds; ``ended`` likewise, None when not reached.
    """

    seq: int
    parent: int
    id: bytes
    task: str
    phase: Phase
    inputs: bytes
    value: bytes | None
    failure: Failure | None
    created: float
    ended: float | None


class FailedAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action that failed, and why, with the remote traceback."""

    summary: ActionSummary
    failure: Failure


class WorkerSpan(msgspec.Struct, frozen=True, array_like=True):
    """Bytes ``[start, end)`` of a worker's log file."""

    worker: int
    start: int
    end: int
