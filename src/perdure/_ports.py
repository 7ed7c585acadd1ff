"""The ports: what the controller needs from the world, as narrow protocols.

Every adapter of a port passes one conformance suite (``tests/conformance``), the in-memory one
included.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import IO, Protocol

import msgspec

from perdure._core.artifacts import ArtifactRow, Publication, Publisher, Wanted
from perdure._core.model import Bundle, InputMark, LowMemory, MemoryUse
from perdure._core.records import (
    ActionRow,
    AttemptRow,
    CacheAnswer,
    CacheQuery,
    CacheRow,
    Claim,
    ClaimEnd,
    EventRow,
    Page,
    Row,
    RunEnd,
    RunRow,
)
from perdure._core.sharing import Ask, Grant, QueueLimits, Stake
from perdure.errors import PerdureError

__all__ = [
    "ActionRow",
    "ArtifactRow",
    "Ask",
    "AttemptRow",
    "Blobs",
    "CacheAnswer",
    "CacheQuery",
    "CacheRow",
    "Claim",
    "ClaimEnd",
    "Engine",
    "EventRow",
    "Grant",
    "Journal",
    "LowMemory",
    "MemoryUse",
    "Page",
    "QueueLimits",
    "Queues",
    "Row",
    "RunEnd",
    "RunRow",
    "Sink",
    "Stake",
    "Values",
    "WorkerDelay",
    "WorkerExit",
    "WorkerRequest",
]

# --- journal --------------------------------------------------------------------------------------


class Queues(Protocol):
    """Named queues, whose limits hold for all controllers that share a journal."""

    def declare(self, limits: Sequence[QueueLimits], at: float) -> list[QueueLimits | None]:
        """Let these limits hold from now on, for everybody.

        Returns:
            For each what held before; None: there was no such queue.
        """

    def remove(self, name: str) -> bool:
        """Forget a queue; return whether there was one."""

    def known(self, names: Sequence[str]) -> dict[str, QueueLimits]:
        """Return the limits of those of the queues that there are."""

    def stakes(self, name: str) -> list[Stake]:
        """Return what controllers have of a queue, those that are gone included."""

    def share(
        self, owner: str, asks: Sequence[Ask], now: float, is_alive: Callable[[str], bool]
    ) -> list[Grant]:
        """Give a controller its parts of queues, in one transaction: see ``sharing.py``.

        Args:
            owner: The controller.
            asks: What it uses and could use.
            now: Wall-clock seconds.
            is_alive: Tells whether the controller of that name still lives.

        Returns:
            What it has from now on, in the order of the questions.
        """


class Journal(Protocol):
    """The only truth: runs, actions, outcomes. Calls block; the shell decides on which thread.

    All methods may be called from any thread, one at a time (the shell serialises them).
    """

    @property
    def queues(self) -> Queues:
        """The queues of all who share the journal; its methods count as the journal's."""

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

    def forget(self, run: int) -> None:
        """Drop what is kept in memory for :meth:`lookup`: nothing is asked about the run soon."""

    def relax(self) -> None:
        """Free the memory that is kept only for speed."""

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
        """Yield ``(id, task, seq)`` of the finished children of the one at ``parent``, by seq."""

    def recorded(self, run: int, parent: int, after: int) -> Page:
        """Return the next recorded children of the one at ``parent``, of those after a place."""

    def publish(
        self, publication: Publication, publisher: Publisher | None, at: float
    ) -> ArtifactRow:
        """Store a published value durably, and return the version that it is.

        Args:
            publication: The value; its blobs are stored already.
            publisher: The action that publishes it, whose row is written; None outside any run.
                What a step has published once, it gets again.
            at: Wall-clock seconds.

        Raises:
            ArtifactConflictError: The version exists with another content.
            LeaseLostError: The publisher's run is driven by somebody else.
        """

    def find_artifact(self, wanted: Wanted) -> ArtifactRow | None:
        """Return the version of an artifact that is asked for, or None."""

    def tag(self, row: ArtifactRow, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
        """Let tags point to a version, wherever they pointed before, and take others from it.

        Raises:
            ArtifactConflictError: One of them is a version.
            ArtifactNotFoundError: One that is to be removed does not point there.
        """

    def cached(
        self, queries: Sequence[CacheQuery], is_alive: Callable[[str], bool]
    ) -> list[CacheAnswer]:
        """Return what is kept under each key, in the order of the queries.

        Where there is nothing and the query has a claim, the key is claimed in the same
        transaction, unless another claim to it holds: one of a run that is driven under the same
        epoch still, by a controller that lives.

        Args:
            queries: The keys.
            is_alive: Tells whether the controller of that name still lives.
        """

    def clear_cache(self, task: str | None = None, before: float | None = None) -> int:
        """Forget kept values and return how many there were.

        Args:
            task: Only those of this task; ``*`` and ``?`` are wildcards.
            before: Only those made before this moment.
        """

    def close(self) -> None:
        """Release files and memory."""


# --- blobs ----------------------------------------------------------------------------------------


class Sink(Protocol):
    """A blob that is being written, and whose digest is not known before its end."""

    @property
    def digest(self) -> bytes:
        """The digest of what has been written so far."""

    def write(self, data: bytes | memoryview) -> int:
        """Add to the content; return how many bytes that were.

        Raises:
            StorageError: It cannot be written.
        """

    def commit(self) -> tuple[bytes, int]:
        """Store the blob durably if absent; return its digest and its size.

        Atomic, like :meth:`Blobs.put`.

        Raises:
            StorageError: It cannot be written.
        """

    def abort(self) -> None:
        """Forget what was written; after a commit, do nothing."""


class Blobs(Protocol):
    """Content-addressed bytes. A digest is 32 bytes of BLAKE3 over the content."""

    def put(self, parts: Sequence[bytes | memoryview]) -> bytes:
        """Store the concatenation of ``parts`` durably if absent; return its digest.

        Atomic: a crash never leaves a partial blob under its final name.

        Raises:
            StorageError: It cannot be written.
        """

    def get(self, digest: bytes, *, private: bool = False) -> memoryview:
        """Return the content read-only, memory-mapped where possible.

        Args:
            digest: As :meth:`put` returned it.
            private: Whether the view may be written to, seen by nobody else.

        Raises:
            BlobMissingError: There is no such blob.
        """

    def has(self, digest: bytes) -> bool:
        """Whether the blob is stored; if it is, as :meth:`keep`."""

    def keep(self, digest: bytes) -> None:
        """Keep a blob from being collected for the next hour, although nothing may refer to it.

        Called before a digest is recorded that was not put just now but found: in another run's
        row, in a cache, in a value that holds it.

        Raises:
            BlobMissingError: There is no such blob.
        """

    def create(self) -> Sink:
        """Begin a blob that is written piece by piece."""

    def open(self, digest: bytes) -> IO[bytes]:
        """Open the content for reading from its beginning; it is whole, whatever its size.

        Raises:
            BlobMissingError: There is no such blob.
            BlobCorruptError: Its bytes are not those that were stored.
        """

    def where(self, digest: bytes) -> str:
        """Return the path or URL under which the blob is, or would be, stored."""

    def is_whole(self, digest: bytes) -> bool:
        """Whether the blob is stored and, as far as is known without fetching it, undamaged.

        If it is, as :meth:`keep`. A damaged one is removed, so that the same content can be stored
        again.
        """


class Values(Protocol):
    """What is asked about encoded values by those who cannot read them. May be slow."""

    def marks(
        self, inputs: bytes, values: Mapping[bytes, bytes], ignored: Collection[str]
    ) -> dict[str, InputMark] | None:
        """Return what a cache key says of each input, by name; None if that cannot be known.

        Args:
            inputs: Encoded inputs of a call.
            values: Encoded values of the futures in them, by action id.
            ignored: Names of inputs that are left out.
        """

    def are_whole(self, blobs: Sequence[bytes]) -> bool:
        """Whether all these blobs are there and are what was stored."""


# --- engines --------------------------------------------------------------------------------------


class WorkerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process to be placed.

    Attributes:
        worker: Number given by the controller; the process says it in its Hello.
        is_async: Executor kind: event loop or main thread.
        env_vars: Set in the process.
        devices: GPUs it may see, by name; None: the node has none, or they are not its business.
        bundle: Code it will load; also gives cwd, sys.path, argv.
        recipe: Blob that says what has to be installed where it runs; b"": what is here.
        threads: How many threads libraries may start that compute with as many as there are cores,
            where neither ``env_vars`` nor the user's environment says so.
    """

    worker: int
    is_async: bool
    env_vars: tuple[tuple[str, str], ...] = ()
    devices: tuple[str, ...] | None = None
    bundle: Bundle = Bundle()
    recipe: bytes = b""
    threads: int = 1


class WorkerDelay(msgspec.Struct, frozen=True, kw_only=True):
    """Something has to be done before worker processes can start, or has been done.

    Attributes:
        workers: Their numbers.
        text: What, in words.
    """

    workers: tuple[int, ...]
    text: str


class WorkerExit(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process ended.

    Attributes:
        worker: Its number.
        exit_code: As the operating system tells; None if killed by a signal or unknown.
        signal: Signal that killed it, or None.
        out_of_memory: The kernel's out-of-memory killer is known to be the cause.
        output: Last lines it wrote before it said Hello, "" afterwards.
        error: Why there is nowhere to start it, if that is so.
        over: The engine has killed it for using more memory than it might.
    """

    worker: int
    exit_code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    output: str = ""
    error: PerdureError | None = None
    over: MemoryUse | None = None


class Engine(Protocol):
    """Places worker processes, keeps them to their memory, and reports their deaths.

    Called from the controller's loop only.
    """

    async def start(
        self,
        address: str,
        token: str,
        on_exit: Callable[[WorkerExit], None],
        on_low_memory: Callable[[LowMemory], None],
        on_delay: Callable[[WorkerDelay], None] = lambda delay: None,
    ) -> None:
        """Get ready to place workers that dial ``address``.

        Args:
            address: Of the controller.
            token: What workers show there.
            on_exit: Called on the loop when a worker has ended.
            on_low_memory: Called on the loop when a node is about to run out of memory, and again
                as long as it is.
            on_delay: Called on the loop when something has to be done before workers can start.
        """

    def spawn(self, request: WorkerRequest) -> None:
        """Place a worker. It dials home when ready; if it cannot start, ``on_exit`` tells."""

    def kill(self, worker: int) -> None:
        """SIGKILL the worker and every process it started (its process group)."""

    def limit(self, worker: int, memory: int) -> None:
        """Kill the worker if it and what it starts use more than so many bytes; 0: do not look."""

    def log_path(self, worker: int) -> str:
        """Return the path of the worker's log file."""

    async def stop(self) -> None:
        """Kill all workers and release everything."""
