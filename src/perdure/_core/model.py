"""The nouns of the system, as plain immutable data.

Everything that crosses a boundary (socket, database, test) is one of these. They carry no
behaviour beyond describing themselves; decisions about them live in the other modules of the core.
"""

from enum import StrEnum

import msgspec

MANY = 1 << 30
"""More than there will ever be."""


class Phase(StrEnum):
    """Where a run or an action stands. See ``transitions.py`` for the legal moves."""

    WAITING = "waiting"  # a dependency has no outcome yet, or something outside has not happened
    QUEUED = "queued"  # ready, no worker has it
    RUNNING = "running"  # on a worker
    RETRYING = "retrying"  # failed, will be attempted again after a backoff
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"
    INTERRUPTED = "interrupted"  # runs only: its controller died or was stopped, nobody resumed it
    CACHED = "cached"  # as shown to people: an action that succeeded with a value of the cache

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self in FINAL_PHASES


FINAL_PHASES = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED, Phase.CACHED})


class Loader(msgspec.Struct, frozen=True, array_like=True):
    """How a worker finds a task's function.

    Attributes:
        kind: ``"module"`` (import ``module``), ``"main"`` (the script or module the bundle names as
            main), or ``"pickle"`` (``payload`` holds the task by value: closures, notebooks).
        module: Module name, for ``"module"``.
        qualname: Dotted name of the task inside that module, for ``"module"`` and ``"main"``.
        payload: cloudpickle bytes, for ``"pickle"``.
        python: Version of Python (``3.12``) that has made them, and that alone can read them.
    """

    kind: str
    module: str = ""
    qualname: str = ""
    payload: bytes = b""
    python: str = ""


class Demand(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """What one attempt needs from a node while it runs.

    Attributes:
        cpu: Cores; fractions are fine.
        memory: Bytes; ``disk`` and ``shm`` likewise.
        gpu: Devices: a whole number, or a share of one.
        custom: Sorted ``(name, amount)`` pairs of what the node was declared to have.
        device: Kind of device, e.g. ``T4``; "": any.
    """

    cpu: float = 1.0
    memory: int = 0
    gpu: float = 0.0
    disk: int = 0
    shm: int = 0
    custom: tuple[tuple[str, float], ...] = ()
    device: str = ""


class Device(msgspec.Struct, frozen=True, array_like=True):
    """A GPU of a node.

    Attributes:
        name: What makes it visible to a process: an index or a UUID.
        kind: What it is, e.g. ``NVIDIA H100 80GB HBM3``; "" if that is not known.
    """

    name: str
    kind: str = ""


class Capacity(msgspec.Struct, frozen=True):
    """What a node has for attempts, in the terms of :class:`Demand`."""

    cpu: float = 1.0
    memory: int = 0
    disk: int = 0
    shm: int = 0
    custom: tuple[tuple[str, float], ...] = ()
    devices: tuple[Device, ...] = ()


class RetryPolicy(msgspec.Struct, frozen=True, array_like=True):
    """How often and how soon a failed action is attempted again.

    The exception filter is evaluated by the worker, which has the classes; its verdict arrives as
    ``Failure.retryable``.

    Attributes:
        count: Attempts after the first one.
        base: Seconds before the first retry.
        factor: Growth of the delay from one retry to the next.
        cap: Upper bound of the delay, in seconds.
        jitter: Fraction (0..1) by which a delay is spread, so that failures do not come back
            all at once.
        on_oom: What to ask for instead, each time there was too little memory: more and more.
    """

    count: int = 0
    base: float = 0.0
    factor: float = 2.0
    cap: float = 60.0
    jitter: float = 0.25
    on_oom: tuple[Demand, ...] = ()


class TimeoutPolicy(msgspec.Struct, frozen=True, array_like=True):
    """Limits in seconds; ``None`` means no limit.

    Attributes:
        max_runtime: For one attempt, from its start.
        max_queued_time: For waiting until an attempt starts.
        deadline: For the action as a whole, from its creation, retries included.
    """

    max_runtime: float | None = None
    max_queued_time: float | None = None
    deadline: float | None = None


class SecretRef(msgspec.Struct, frozen=True, array_like=True):
    """A secret that a worker has: by name, never by value.

    Attributes:
        name: What its sources are asked for.
        variable: Environment variable of the worker that holds it.
        is_file: The variable holds the path of a file with the value, not the value.
    """

    name: str
    variable: str
    is_file: bool = False


class Reuse(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """How tasks share worker processes. Those that say the same share the same workers.

    Attributes:
        environment: Whose own workers they are; "": anybody's with the same secrets, and nothing
            is said but these.
        concurrency: Attempts that run at once in one worker, for one share of resources in all.
        min_workers: Kept while the environment is in use.
        max_workers: Never more.
        idle_ttl: Seconds after which those go that are kept, if none had anything to do.
        scaledown_ttl: Seconds after which one beyond ``min_workers`` goes that has nothing to do.
        max_attempts: Attempts after which a worker is replaced; 0: never.
        max_memory: Bytes; a worker that has more when an attempt ends is replaced; 0: never.
        startup: What a worker calls before its first attempt.
        secrets: What it finds in its environment variables besides.
        per_run: Each run has workers of its own.
        run: Whose they are, then; set when they are placed.
        startup_limit: Seconds that ``startup`` may take; 0: as long as it takes.
    """

    environment: str = ""
    concurrency: int = 1
    min_workers: int = 0
    max_workers: int = MANY
    idle_ttl: float = 30.0
    scaledown_ttl: float = 30.0
    max_attempts: int = 0
    max_memory: int = 0
    startup: Loader | None = None
    secrets: tuple[SecretRef, ...] = ()
    per_run: bool = False
    run: int = 0
    startup_limit: float = 0.0


class CachePolicy(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """How a task's values are kept for all runs, and what their keys have in common.

    Attributes:
        version: Digest of all that decides a value but the inputs: the task's name and interface,
            its code, the environment, the salt.
        facts: Blob (32-byte digest) that tells what went into ``version``.
        overwrite: Run, whatever is kept, and keep the new value.
        max_age: Seconds after which a value is no longer used; None: never.
        serialize: Identical calls run one at a time; the others wait for the value.
        ignored: Inputs that are no part of the key.
    """

    version: bytes
    facts: bytes
    overwrite: bool = False
    max_age: float | None = None
    serialize: bool = False
    ignored: tuple[str, ...] = ()


class InputMark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of one input of a cached call: its digest (16 bytes) and a text for people."""

    digest: bytes
    preview: str


class Origin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The action whose value was taken from the cache: name of its run, and its id."""

    run: str
    action: bytes


class CacheNote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of the cache with an action, so that a miss can be explained.

    Attributes:
        verdict: ``hit``, ``miss``, ``expired`` (there was an older value than ``max_age`` allows),
            ``damaged`` (there was one whose blobs are gone or not what was stored), ``overwrite``
            (none was wanted) or ``unknowable`` (an input's digest cannot be known).
        key: The key; b"" if it cannot be known.
        facts: See :class:`CachePolicy`.
        inputs: What the key says of each input that counts.
    """

    verdict: str
    key: bytes
    facts: bytes
    inputs: dict[str, InputMark] = {}


class ImageRef(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """Where a task wants to be executed.

    Attributes:
        recipe: Blob (32-byte digest) that says what is to be installed there; b"": nothing, the
            interpreter of the run will do.
        unapplied: What of the image only containers have, in words.
        label: What is to be installed, in words.
    """

    recipe: bytes = b""
    unapplied: str = ""
    label: str = ""


class TaskSpec(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """A task with everything that decides how it is executed, overrides applied.

    Attributes:
        name: Full name, ``<environment>.<function>``.
        loader: Where its function is.
        is_async: Whether the function is ``async def``.
        code: Fingerprint of the function's own body (16 bytes); seen on resume, not part of ids.
        demand: Resources of one attempt.
        retry: Retry policy.
        timeout: Time limits.
        env_vars: Sorted ``(name, value)`` pairs set in the worker process.
        reuse: With whom it shares workers, and how.
        cache: How its values are kept for all runs; None: they are not.
        image: What it wants to be installed.
        queue: Name of the queue that its attempts run in, or "".
    """

    name: str
    loader: Loader
    is_async: bool = False
    code: bytes = b""
    demand: Demand = Demand()
    retry: RetryPolicy = RetryPolicy()
    timeout: TimeoutPolicy = TimeoutPolicy()
    env_vars: tuple[tuple[str, str], ...] = ()
    reuse: Reuse = Reuse()
    cache: CachePolicy | None = None
    image: ImageRef = ImageRef()
    queue: str = ""


class SourceFile(msgspec.Struct, frozen=True, array_like=True):
    """One file of a bundle: absolute path and the blob (32-byte digest) that holds its text."""

    path: str
    blob: bytes


class Bundle(msgspec.Struct, frozen=True, array_like=True):
    """The code a run is pinned to, and what a process needs to load it.

    Attributes:
        main: Absolute path of the main script, or "" (module, notebook, REPL).
        main_module: Dotted name when started with ``python -m``, else "".
        sys_path: Import path of the process that started the run.
        cwd: Its working directory.
        argv: Its arguments.
        files: Project sources that were loaded when the run started.
        python: Version and implementation, e.g. ``cpython-3.11.7``.
        environment: Blob that lists the installed packages, b"" if that is not known.
        repository: Folder of the git working tree the code is in, "" if it is in none.
        commit: Commit that was checked out there.
        branch: Branch that was checked out, "" if none was.
        pinned: Workers load the recorded text of the files, whatever is on disk now.
        secret_variables: Environment variables that may hold secrets: only workers that ask for
            one get it.
    """

    main: str = ""
    main_module: str = ""
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    argv: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = ()
    python: str = ""
    environment: bytes = b""
    repository: str = ""
    commit: str = ""
    branch: str = ""
    pinned: bool = False
    secret_variables: tuple[str, ...] = ()


class MemoryUse(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a worker used that was stopped for it, in bytes.

    Attributes:
        limit: What it might use: the request of what it executed, or the least that is enforced.
        peak: The most it was seen to use, with all processes it had started.
        before: What of that was there before it began to execute what it was stopped for, beyond
            what a fresh worker begins with: others have left it behind.
    """

    limit: int
    peak: int
    before: int = 0


class LowMemory(msgspec.Struct, frozen=True, array_like=True):
    """A node is about to run out of memory.

    Attributes:
        available: Bytes that can still be used.
        floor: Bytes that should be.
        uses: What each worker uses, by its number.
    """

    available: int
    floor: int
    uses: dict[int, int]


class Failure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An error that ended an attempt or an action.

    Attributes:
        type: Qualified class name, e.g. ``builtins.KeyError``.
        message: ``str`` of the exception.
        traceback: Remote traceback as text, "" if there is none.
        code: Stable code: ``user``, or the code of a :class:`perdure.errors.PerdureError`.
        retryable: Whether the retry policy may try again.
        payload: Encoded exception from which the original class is rebuilt; empty when the
            controller itself made the failure (then ``code`` names the class).
        blobs: Digests (32 bytes each) of the blobs that ``payload`` refers to.
        memory: What was used, if that was too much.
        hint: What to do next, if the controller knows better than the class of the error.
    """

    type: str
    message: str
    traceback: str = ""
    code: str = "user"
    retryable: bool = True
    payload: bytes = b""
    blobs: tuple[bytes, ...] = ()
    memory: MemoryUse | None = None
    hint: str = ""


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What ends an action: an encoded value or a failure. Recorded once, never changed.

    Attributes:
        value: Encoded value; ``None`` when the action failed.
        failure: The error; ``None`` when it succeeded.
        blobs: Digests (32 bytes each) of the blobs the value refers to.
    """

    value: bytes | None = None
    failure: Failure | None = None
    blobs: tuple[bytes, ...] = ()


class LogSpan(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A range of bytes ``[start, end)`` of a worker's log file."""

    start: int
    end: int


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a run that the controller acts on; kept with the run as msgpack.

    Attributes:
        recover_from: Name of the run whose successful outcomes may be reused, or "".
        force: Tasks that run again although that run has their outcomes.
        strict: A replay that diverges from what is recorded fails the run.
        env_vars: Set in every worker process of the run; a task's own take precedence.
        cache: ``overwrite``: cached tasks run anew, and their values are kept; ``disable``: the
            cache is left alone; "": as the tasks say.
        mixed: Its code is not what its root's key says, nor what made all outcomes it may reuse.
        queue: Name of the queue that admits it, or "".
        priority: Of its work, compared with that of other runs.
    """

    recover_from: str = ""
    force: tuple[str, ...] = ()
    strict: bool = False
    env_vars: dict[str, str] = {}
    cache: str = ""
    mixed: bool = False
    queue: str = ""
    priority: int = 0


def phase_of(outcome: Outcome) -> Phase:
    """Return the final phase an outcome stands for."""
    if outcome.failure is None:
        return Phase.SUCCEEDED
    return Phase.ABORTED if outcome.failure.code == "cancelled" else Phase.FAILED
