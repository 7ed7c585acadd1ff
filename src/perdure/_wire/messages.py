"""The messages of the controller <-> worker protocol.

A frame (see ``framing.py``) carries a list of messages; calls made in one loop tick, assignments
and results travel together. Attempts are named by a small integer the controller gives out in
:class:`Assign`; actions by their 16-byte id; tasks by an integer that each direction of each
connection introduces with :class:`Define` before its first use.

The order of messages on one connection is the order of events.
"""

import msgspec

from perdure._core.artifacts import Request
from perdure._core.model import Bundle, Failure, InputMark, Loader, LogSpan, TaskSpec

PROTOCOL = 5
"""Version of this protocol. A worker and a controller must agree on it exactly."""


class Message(msgspec.Struct, array_like=True, tag=True, gc=False):
    """Base of all messages: arrays on the wire, tagged with the class name's short tag."""


# --- both directions ------------------------------------------------------------------------------


class Define(Message, tag=1):
    """Introduces ``spec`` as number ``task`` for this direction of this connection."""

    task: int
    spec: TaskSpec


# --- worker -> controller -------------------------------------------------------------------------


class Hello(Message, tag=10):
    """First message of a worker. Nothing else is decoded before the token has been checked.

    ``worker`` is 0 for a peer that is no worker, but another process of the user.
    """

    protocol: int
    token: str
    worker: int
    pid: int


class Call(Message, tag=11):
    """A child action was asked for by attempt ``parent``.

    Attributes:
        parent: Handle of the calling attempt.
        task: Number of the task (see :class:`Define`).
        id: Id of the child.
        inputs: Encoded inputs.
        needs: Ids of the actions whose values appear in the inputs as futures.
        blobs: Blobs the inputs refer to (32 bytes each).
        group: Display group, or "".
        context: Encoded custom context, or b"" for the parent's.
        marks: For a cached task: what its key says of each input; None where futures are among
            them, and for other tasks.
    """

    parent: int
    task: int
    id: bytes
    inputs: bytes
    needs: tuple[bytes, ...] = ()
    blobs: tuple[bytes, ...] = ()
    group: str = ""
    context: bytes = b""
    marks: dict[str, InputMark] | None = None


class Wish(Message, tag=29):
    """Attempt ``parent`` holds back a call of a task that has a queue: when may it be made?

    Answered by :class:`Room`, sooner or later. What the controller has learned of the call by then
    is only that it is waited for. A call that is not going to be made is cancelled, like any other.

    Attributes:
        parent: Handle of the calling attempt.
        task: Number of the task (see :class:`Define`).
        id: Id of the child.
    """

    parent: int
    task: int
    id: bytes


class Lookup(Message, tag=12):
    """Is there a recorded outcome for step ``id``? Answered by Resolved or :class:`Absent`.

    Only sent by attempts whose Assign had ``replay``; others know that nothing is recorded.
    """

    parent: int
    id: bytes


class Record(Message, tag=13):
    """A step (``trace``, ``durable.now``) ran in the caller: record it, answer with Resolved.

    Attributes:
        parent: Handle of the calling attempt.
        id: Id of the step.
        name: Name of the step, as task name.
        inputs: Encoded inputs.
        value: Encoded value, or None if it failed.
        failure: The error, or None.
        started: Wall-clock seconds.
        ended: Wall-clock seconds.
        blobs: Blobs that the inputs refer to.
        group: Display group, or "".
        value_blobs: Blobs that the value refers to.
    """

    parent: int
    id: bytes
    name: str
    inputs: bytes
    value: bytes | None
    failure: Failure | None
    started: float
    ended: float
    blobs: tuple[bytes, ...] = ()
    group: str = ""
    value_blobs: tuple[bytes, ...] = ()


class Errand(Message, tag=24):
    """A step that only the controller can do: do it, record it, answer with Resolved.

    Attributes:
        parent: Handle of the calling attempt.
        id: Id of the step.
        name: Name of the step, as task name.
        inputs: Encoded inputs.
        request: What to do.
        group: Display group, or "".
    """

    parent: int
    id: bytes
    name: str
    inputs: bytes
    request: Request
    group: str = ""


class Sleep(Message, tag=14):
    """A durable sleep: Resolved after ``seconds``, counted from the first time it was asked for."""

    parent: int
    id: bytes
    seconds: float
    group: str = ""


class Ask(Message, tag=50):
    """A condition: Resolved with the answer of somebody outside.

    Attributes:
        parent: Handle of the calling attempt.
        id: Id of the condition.
        name: Its name.
        inputs: Encoded: the question, and what an answer must be.
        blobs: Blobs that the inputs refer to.
        timeout: Seconds after which it fails, counted from the first time it was asked.
        group: Display group, or "".
    """

    parent: int
    id: bytes
    name: str
    inputs: bytes
    blobs: tuple[bytes, ...] = ()
    timeout: float | None = None
    group: str = ""


class Done(Message, tag=15):
    """An attempt ended.

    Attributes:
        attempt: Its handle.
        value: Encoded value, or None if it failed.
        failure: The error, or None.
        seconds: Time it took on the executor.
        started: Wall-clock seconds of its start.
        log: Ranges of the worker's log it wrote.
        blobs: Blobs the value refers to.
        unfinished: Ids of children that were still unfinished: the controller cancels them.
        unclaimed: Ids of children it was told of in :class:`Recorded` and has not called, joined.
    """

    attempt: int
    value: bytes | None
    failure: Failure | None
    seconds: float
    started: float
    log: tuple[LogSpan, ...] = ()
    blobs: tuple[bytes, ...] = ()
    unfinished: tuple[bytes, ...] = ()
    unclaimed: bytes = b""


class Blocked(Message, tag=16):
    """The sync attempt waits for a child: its cpu share is free meanwhile.

    The outcome that ends the wait comes when the share is free again; with it, and without a word,
    the attempt goes on. The worker has already returned its unstarted attempts (:class:`Returned`,
    earlier or in the same frame), and returns every further one it is assigned while it waits.

    Attributes:
        attempt: Its handle.
        awaits: The child that it waits for; b"": any of them ends the wait.
        seen: How many outcomes it has been told so far: one that is on its way may end the wait.
    """

    attempt: int
    awaits: bytes = b""
    seen: int = 0


class Unblocked(Message, tag=17):
    """The sync attempt goes on, although no outcome has ended its wait."""

    attempt: int


class Returned(Message, tag=18):
    """Attempts that were assigned but not started, given back."""

    attempts: tuple[int, ...]


class CancelCall(Message, tag=19):
    """The attempt ``parent`` cancelled its child ``id`` (and so everything below it)."""

    parent: int
    id: bytes


class Event(Message, tag=20):
    """Something worth telling about an attempt: kept with the run, shown by ``show``.

    Attributes:
        attempt: Its handle.
        kind: ``warning`` or ``info``.
        text: What to tell.
    """

    attempt: int
    kind: str
    text: str


class MoreRecorded(Message, tag=23):
    """The attempt has taken in all it was told, and has use for the next :class:`Recorded`.

    Said of the last one, too: what is called from now on is none of what was told.
    """

    attempt: int


class StartedUp(Message, tag=27):
    """The start-up hook that Welcome named was called: assign attempts now.

    Attributes:
        seconds: Time it took.
        failure: What it raised; then the worker ends.
    """

    seconds: float
    failure: Failure | None = None


class Worn(Message, tag=28):
    """The worker has more memory than Welcome allows it to keep: assign nothing more."""


class Left(Message, tag=60):
    """Answer to Leave: the attempt is left; nothing more is going to be said of it.

    Attributes:
        attempt: Its handle.
        log: Ranges of the worker's log it wrote.
        whole: The worker ends with this message: it was in the midst of the attempt's code.
    """

    attempt: int
    log: tuple[LogSpan, ...] = ()
    whole: bool = False


class Stays(Message, tag=61):
    """Answer to Leave: the attempt does more than to wait for its calls."""

    attempt: int


class Began(Message, tag=63):
    """The code of an attempt is loaded, its inputs are decoded, and now it begins."""

    attempt: int


# --- controller -> worker -------------------------------------------------------------------------


class SecretValue(msgspec.Struct, frozen=True, array_like=True):
    """A secret for one worker: the value of ``variable``, or of the file whose path it holds."""

    variable: str
    value: bytes
    is_file: bool = False


class Welcome(Message, tag=30):
    """Answer to Hello: how to load code and where values live.

    Attributes:
        bundle: Code of the runs this worker serves.
        blobs: Folder of the blob store.
        grace: Seconds a cancelled attempt has to end by itself.
        concurrency: Attempts an async worker runs at once, however long they take.
        sync: Whether stored blobs must survive power loss.
        storage: URL of where blobs live if the folder holds copies only, else "".
        home: Folder of checkpoints and reports.
        startup: What to call before :class:`StartedUp` is said, if anything.
        max_memory: Bytes beyond which it says :class:`Worn`; 0: never.
        secrets: To be found in environment variables, and nowhere else.
        startup_limit: Seconds that ``startup`` may take; 0: as long as it takes.
        devices: GPUs that belong to the worker, by name.
    """

    bundle: Bundle
    blobs: str
    grace: float
    concurrency: int = 1
    sync: bool = True
    storage: str = ""
    home: str = ""
    startup: Loader | None = None
    max_memory: int = 0
    secrets: tuple[SecretValue, ...] = ()
    startup_limit: float = 0.0
    devices: tuple[str, ...] = ()


class Assign(Message, tag=31):
    """Execute an attempt, after those assigned before it.

    Attributes:
        attempt: Handle, unique for the life of the controller.
        task: Number of the task (see :class:`Define`).
        run: Name of the run.
        id: Id of the action.
        number: 0-based number of the attempt, as users see it.
        inputs: Encoded inputs.
        values: Encoded values of the futures in the inputs, by action id.
        replay: Whether calls of this attempt may find recorded outcomes.
        depth: 0 for the root action.
        last: Whether no retry is left.
        context: Encoded custom context, b"" if none.
        recorded: A first :class:`Recorded` follows soon.
        run_created: When the run was asked for, in wall-clock seconds.
        counts: Tell when the code begins: with :class:`Began`.
    """

    attempt: int
    task: int
    run: str
    id: bytes
    number: int
    inputs: bytes
    values: dict[bytes, bytes] = {}
    replay: bool = False
    depth: int = 0
    last: bool = True
    context: bytes = b""
    recorded: bool = False
    run_created: float = 0.0
    counts: bool = False


class Resolved(Message, tag=32):
    """A child or step of attempt ``parent`` has its outcome, committed."""

    parent: int
    id: bytes
    value: bytes | None
    failure: Failure | None = None


class Recorded(Message, tag=38):
    """Recorded children of attempt ``parent``, ahead of its calls.

    A call or step that is among them has its outcome at once, and the controller is told nothing of
    it. All others are asked for as if this message did not exist.

    Attributes:
        parent: Handle of the attempt.
        ids: Their ids, joined.
        values: Their encoded values, in the same order.
        last: There are no more; otherwise :class:`MoreRecorded` brings the next.
    """

    parent: int
    ids: bytes
    values: list[bytes]
    last: bool


class Absent(Message, tag=33):
    """Answer to Lookup: nothing is recorded; run the step."""

    parent: int
    id: bytes


class Room(Message, tag=39):
    """Answer to Wish: make the call.

    Attributes:
        parent: Handle of the attempt.
        id: Id of the child.
        open: Name of its queue, if calls in that are to be made without asking, by all attempts of
            this worker, until :class:`Shut`; or "".
    """

    parent: int
    id: bytes
    open: str = ""


class Shut(Message, tag=40):
    """From now on, ask before each call of a task in this queue."""

    queue: str


class Cancel(Message, tag=34):
    """Stop the attempt: cooperatively now; the controller kills the worker after the grace time.

    Attributes:
        attempt: Its handle. An attempt not started yet is answered with Done like any other.
        reason: ``cancelled`` or ``timeout``.
    """

    attempt: int
    reason: str


class Revoke(Message, tag=35):
    """Give back those of these attempts that have not started.

    Always answered by a :class:`Returned`: until then the worker is not asked again.
    """

    attempts: tuple[int, ...]


class Leave(Message, tag=62):
    """Leave the attempt for good if it only waits for its calls: it is going to be replayed.

    Answered by Left or Stays, unless it has ended meanwhile. Its code must not notice.
    """

    attempt: int


class Stop(Message, tag=36):
    """End the process; nothing is running."""


FromWorker = (
    Define | Hello | Call | Wish | Lookup | Record | Errand | Sleep | Ask | MoreRecorded | Done
    | Blocked | Unblocked | Returned | CancelCall | Event | StartedUp | Worn | Left | Stays
    | Began
)  # fmt: skip
ToWorker = (
    Define | Welcome | Assign | Recorded | Resolved | Absent | Room | Shut | Cancel | Revoke | Leave
    | Stop
)  # fmt: skip
