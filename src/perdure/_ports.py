"""The ports: what the controller needs from the world, as narrow protocols.

Every adapter of a port passes one conformance suite (``tests/conformance``), the in-memory one
included.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from perdure._core.model import Bundle, Failure, LogSpan, Outcome, Phase, TaskSpec

# --- journal --------------------------------------------------------------------------------------


class RunRow(msgspec.Struct, kw_only=True):
    """A run as the journal holds it.

    Attributes:
        key: Number of the run in this journal; 0 before it is created.
        name: Unique name.
        spec: Root task.
        inputs: Encoded inputs of the root task, and the blobs they refer to.
        bundle: Code the run is pinned to.
        context: Encoded custom context, b"" if none.
        options: Encoded run options (durability, ...), free-form for the layers above.
        created: Wall-clock seconds; likewise ``started`` and ``ended``.
        phase: As recorded. A reader that finds a phase that is not final and no live owner reports
            ``interrupted``.
        outcome: Set when the phase is final.
        owner: Name of the controller that holds the lease, "" if none.
        epoch: Lease epoch; grows by one each time the run is acquired.
        parent: Name of the run this one was rerun from, or "".
    """

    name: str
    spec: TaskSpec
    inputs: bytes = b""
    inputs_digest: bytes = b""
    blobs: tuple[bytes, ...] = ()
    bundle: Bundle = Bundle()
    context: bytes = b""
    options: bytes = b""
    created: float = 0.0
    ended: float | None = None
    phase: Phase = Phase.QUEUED
    outcome: Outcome | None = None
    owner: str = ""
    epoch: int = 0
    parent: str = ""
    key: int = 0


class ActionRow(msgspec.Struct, kw_only=True):
    """One action of a run: inserted at its outcome, or earlier by a flush.

    ``(run, seq)`` is its place: ``seq`` counts up from 1 (the root action) in the order in which
    rows are first written, so the table only ever grows at its end. Identity is ``id``.

    Attributes:
        run: Key of the run.
        seq: Place in the run.
        fresh: The row has never been written: a plain insert; otherwise it replaces its earlier
            state.
        id: Action id (16 bytes).
        parent: ``seq`` of the parent; 0 for the root.
        task: Task or step name.
        code: Fingerprint of the task's body, b"" for steps.
        kind: ``task``, ``trace``, ``sleep`` or ``value`` (``durable.now`` and the like).
        phase: Current phase.
        inputs: Encoded inputs.
        outcome: Set when the phase is final.
        created: Wall-clock seconds; ``started`` and ``ended`` likewise, None when not reached.
        attempts: Attempts charged to the retry budget so far, the current one included.
        losses: Attempts lost to no fault of the action, not charged.
        worker: Number of the worker of the last attempt, 0 if none.
        log: Ranges of that worker's log.
        group: Display group, or "".
        wake_at: When a durable sleep ends.
        blobs: Blobs that inputs and outcome refer to.
    """

    run: int
    seq: int
    id: bytes
    parent: int
    task: str
    created: float
    fresh: bool = True
    code: bytes = b""
    kind: str = "task"
    phase: Phase = Phase.QUEUED
    inputs: bytes = b""
    outcome: Outcome | None = None
    started: float | None = None
    ended: float | None = None
    attempts: int = 0
    losses: int = 0
    worker: int = 0
    log: tuple[LogSpan, ...] = ()
    group: str = ""
    wake_at: float | None = None
    blobs: tuple[bytes, ...] = ()


class AttemptRow(msgspec.Struct, kw_only=True):
    """An attempt that did not end its action: failed and retried, or lost. For people, not recovery.

    Attributes:
        run: Key of the run.
        seq: Place of the action.
        number: Counts all attempts of the action from 0, lost ones included.
        failure: What ended it.
        started: Wall-clock seconds; ``ended`` likewise.
        worker: Number of the worker.
        log: Ranges of that worker's log.
    """

    run: int
    seq: int
    number: int
    failure: Failure
    started: float
    ended: float
    worker: int = 0
    log: tuple[LogSpan, ...] = ()


class EventRow(msgspec.Struct, kw_only=True):
    """A notice about a run or one of its actions (``seq`` 0: the run)."""

    run: int
    seq: int
    at: float
    kind: str
    text: str


class RunEnd(msgspec.Struct, kw_only=True):
    """The run has its outcome; or, with ``outcome=None``, its phase changed."""

    run: int
    phase: Phase
    at: float
    outcome: Outcome | None = None


Row = ActionRow | AttemptRow | EventRow | RunEnd


class Journal(Protocol):
    """The only truth: runs, actions, outcomes. Calls block; the shell decides on which thread.

    All methods may be called from any thread, one at a time (the shell serialises them).
    """

    def create_run(self, row: RunRow) -> int:
        """Store a new run, owned by nobody yet, and return its key.

        Raises:
            RunConflictError: The name exists.
        """

    def load_run(self, name: str) -> RunRow | None:
        """Return the run, or None."""

    def acquire(self, run: int, owner: str, is_alive: Callable[[str], bool]) -> int:
        """Take the run's lease and return the new epoch, atomically.

        Args:
            run: Key of the run.
            owner: Name of the acquiring controller.
            is_alive: Tells whether the controller of that name still lives.

        Raises:
            RunInUseError: Another owner holds it and lives.
        """

    def release(self, run: int, epoch: int) -> None:
        """Give the lease back; a stale epoch changes nothing."""

    def commit(self, rows: Sequence[Row], epochs: dict[int, int]) -> frozenset[int]:
        """Write all rows in one transaction, durably, before returning.

        Args:
            rows: What to write, in order.
            epochs: Lease epoch under which the caller drives each run in ``rows``.

        Returns:
            Keys of runs whose epoch is stale: none of their rows were written.

        Raises:
            StorageError: Nothing was written (disk full, read-only, corrupt).
        """

    def lookup(self, run: int, ids: Sequence[bytes]) -> dict[bytes, ActionRow]:
        """Return those of the actions that have a row, finished or not."""

    def last_seq(self, run: int) -> int:
        """Return the largest ``seq`` of the run, 0 if it has no rows."""

    def children(self, run: int, parent: int) -> Iterable[tuple[bytes, str, int]]:
        """Yield ``(id, task, seq)`` of the finished children of the action at ``parent``, by seq."""

    def close(self) -> None:
        """Release files and memory."""


# --- blobs ----------------------------------------------------------------------------------------


class Blobs(Protocol):
    """Content-addressed bytes. A digest is 32 bytes of BLAKE3 over the content."""

    def put(self, parts: Sequence[bytes | memoryview]) -> bytes:
        """Store the concatenation of ``parts`` durably if absent; return its digest.

        Atomic: a crash never leaves a partial blob under its final name.

        Raises:
            StorageError: It cannot be written.
        """

    def get(self, digest: bytes) -> memoryview:
        """Return the content read-only, memory-mapped where possible.

        Raises:
            BlobMissingError: There is no such blob.
        """

    def has(self, digest: bytes) -> bool:
        """Whether the blob is stored."""


# --- engines --------------------------------------------------------------------------------------


class WorkerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process to be placed.

    Attributes:
        worker: Number given by the controller; the process says it in its Hello.
        is_async: Executor kind: event loop or main thread.
        env_vars: Set in the process.
        bundle: Code it will load; also gives cwd, sys.path, argv.
    """

    worker: int
    is_async: bool
    env_vars: tuple[tuple[str, str], ...] = ()
    bundle: Bundle = Bundle()


class WorkerExit(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process ended.

    Attributes:
        worker: Its number.
        exit_code: As the operating system tells; None if killed by a signal or unknown.
        signal: Signal that killed it, or None.
        out_of_memory: The kernel's out-of-memory killer is known to be the cause.
        output: Last lines it wrote before it said Hello, "" afterwards.
    """

    worker: int
    exit_code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    output: str = ""


class Engine(Protocol):
    """Places worker processes and reports their deaths. Called from the controller's loop only."""

    async def start(
        self, address: str, token: str, on_exit: Callable[[WorkerExit], None]
    ) -> None:
        """Get ready to place workers that dial ``address``; ``on_exit`` is called on the loop."""

    def spawn(self, request: WorkerRequest) -> None:
        """Place a worker. It dials home when ready; if it cannot start, ``on_exit`` tells."""

    def kill(self, worker: int) -> None:
        """SIGKILL the worker and every process it started (its process group)."""

    def log_path(self, worker: int) -> str:
        """Return the path of the worker's log file."""

    async def stop(self) -> None:
        """Kill all workers and release everything."""
