"""The records: what the core decides to write, and what the journal holds.

A record says everything about its row; adapters of the journal store and return it unchanged.
"""

import msgspec

from perdure._core.ids import DIGEST_BYTES
from perdure._core.model import (
    Bundle,
    CacheNote,
    Failure,
    InputMark,
    LogSpan,
    Origin,
    Outcome,
    Phase,
    TaskSpec,
)


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


class ActionRow(msgspec.Struct, kw_only=True, gc=False):
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
        kind: ``task``, ``trace``, ``sleep``, ``condition`` or ``value`` (``durable.now`` and the
            like).
        phase: Current phase.
        inputs: Encoded inputs.
        outcome: Set when the phase is final.
        created: Wall-clock seconds; ``started`` and ``ended`` likewise, None when not reached.
        attempts: Attempts charged to the retry budget so far, the current one included.
        losses: Attempts lost to no fault of the action, not charged.
        worker: Number of the worker of the last attempt, 0 if none.
        log: Ranges of that worker's log.
        group: Display group, or "".
        wake_at: When a durable sleep ends, the time for an answer is over, or the first sleep that
            a parked action waits for.
        blobs: Blobs that inputs and outcome refer to.
        origin: Where its value was made, if it is from the cache.
        cache: What is to be known of its key, if the cache was asked.
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
    origin: Origin | None = None
    cache: CacheNote | None = None


class Page(msgspec.Struct, kw_only=True, gc=False):
    """Some of an action's recorded children, in the order of their places.

    Attributes:
        ids: Ids of those that succeeded with a small value, 16 bytes each, joined.
        values: Their values, encoded.
        others: Ids of the rest: failed, unfinished, or with a large value.
        upto: All children with a place up to this one have been told.
        last: There are no more.
    """

    ids: bytes
    values: list[bytes]
    others: list[bytes]
    upto: int
    last: bool

    def told(self) -> dict[bytes, bytes]:
        """Return the values by id."""
        places = range(0, len(self.ids), DIGEST_BYTES)
        ids = [self.ids[at : at + DIGEST_BYTES] for at in places]
        return dict(zip(ids, self.values, strict=True))


class AttemptRow(msgspec.Struct, kw_only=True, gc=False):
    """An attempt that did not end its action: failed and retried, or lost.

    For people; recovery does not read it.

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


class EventRow(msgspec.Struct, kw_only=True, gc=False):
    """A notice about a run or one of its actions (``seq`` 0: the run)."""

    run: int
    seq: int
    at: float
    kind: str
    text: str


class RunEnd(msgspec.Struct, kw_only=True, gc=False):
    """The run has its outcome; or, with ``outcome=None``, its phase changed.

    With the end of a run that was resumed, actions that are still open end as aborted: an earlier
    incarnation had begun them, and the last one did not ask for them again.
    """

    run: int
    phase: Phase
    at: float
    outcome: Outcome | None = None


class CacheRow(msgspec.Struct, kw_only=True, gc=False):
    """An outcome of a cached task, kept under its key for all runs; the newest counts.

    Attributes:
        run: Key of the run that made it.
        key: The key (16 bytes).
        task: Full name of the task.
        created: Wall-clock seconds.
        origin: The action that made it.
        facts: Blob that tells what the key is made of, inputs aside.
        inputs: What the key says of each input that counts.
        value: Encoded value.
        blobs: Blobs that the value refers to.
    """

    run: int
    key: bytes
    task: str
    created: float
    origin: Origin
    facts: bytes
    inputs: dict[str, InputMark]
    value: bytes
    blobs: tuple[bytes, ...] = ()


class Claim(msgspec.Struct, frozen=True, gc=False):
    """An action is the one of its key that runs; identical ones wait.

    It holds as long as its run is driven under the same lease, unless it is given back.

    Attributes:
        run: Key of the run.
        epoch: Lease epoch under which the run is driven.
        number: Tells the claims of a run apart.
    """

    run: int
    epoch: int
    number: int


class ClaimEnd(msgspec.Struct, kw_only=True, gc=False):
    """The run gives back its claim to a key: the action ended without a value."""

    run: int
    key: bytes
    number: int


class CacheQuery(msgspec.Struct, frozen=True, gc=False):
    """What the journal is asked about a key.

    Attributes:
        key: The key.
        since: Values made before this moment do not count; infinite: none does.
        claim: Who is to run if there is none, where only one may; None: anybody may.
    """

    key: bytes
    since: float = 0.0
    claim: Claim | None = None


class CacheAnswer(msgspec.Struct, frozen=True, gc=False):
    """What the journal knows of a key.

    Attributes:
        entry: The kept value.
        expired: There is a value, but it was made too early.
        held: There is none, and somebody else is making it.
    """

    entry: CacheRow | None = None
    expired: bool = False
    held: bool = False


Row = ActionRow | AttemptRow | EventRow | RunEnd | CacheRow | ClaimEnd
