"""Reasons: what an action without an outcome waits for, as plain data.

One class for each kind. Who makes actions wait in a new way adds a class here, recognises it in
``explaining.py`` (or, if it keeps ready work from a worker, in ``impediments.py``), and puts it in
words in ``client/wording.py``.
"""

import msgspec

from perdure._core.model import Phase

Amounts = dict[str, float]
"""How much of each resource, by name; bytes of memory."""


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """An action, in passing.

    Attributes:
        run: Name of its run.
        number: Its number in the run, 0 while it is not on record.
        id: Its id, in hex.
        task: Name of its task or step.
    """

    run: str
    number: int
    id: str
    task: str


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who has something that others wait for.

    Attributes:
        action: The action; the first one where several share what they have; None: a worker that
            does nothing.
        amounts: What it has of what is short.
        since: When it was started, in wall-clock seconds.
        waits: It waits for its children, and keeps this meanwhile.
        beside: How many others share it.
    """

    action: Brief | None
    amounts: Amounts
    since: float | None
    waits: bool = False
    beside: int = 0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Place among ready actions that want the same.

    Attributes:
        ahead: How many of the same run go first.
        counted: Whether that is all of them; otherwise at least so many do.
        others: How many of other runs are in the line; runs take turns.
    """

    ahead: int
    counted: bool = True
    others: int = 0


def _kind(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class _Reason(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=_kind):
    """Base: in JSON, ``kind`` tells the classes apart."""


# --- on a worker ----------------------------------------------------------------------------------


class Running(_Reason, frozen=True, kw_only=True):
    """It is executed.

    Attributes:
        worker: Number of the worker.
        pid: Its process; 0 if that is not known.
        since: When the attempt was given to it.
        behind: How many quick attempts the worker does first.
        alone: Nothing else is with that worker.
    """

    worker: int
    pid: int
    since: float
    behind: int = 0
    alone: bool = True


class Stopping(_Reason, frozen=True, kw_only=True):
    """Its attempt was asked to stop, and has not ended yet.

    Attributes:
        worker: Number of the worker.
        pid: Its process; 0 if that is not known.
        why: In words, or the name of a time limit.
    """

    worker: int
    pid: int
    why: str


class Children(_Reason, frozen=True, kw_only=True):
    """It waits for calls that it has made.

    Attributes:
        open: How many have no outcome.
        calls: How many there are.
        phases: Of those that are open, how many are in which phase; empty if they are many.
    """

    open: int
    calls: int
    phases: dict[str, int]


# --- ready, without a worker ----------------------------------------------------------------------


class NoRoom(_Reason, frozen=True, kw_only=True):
    """The resources that it asks for are not free.

    Attributes:
        asked: What it asks for.
        free: What is free of that.
        total: What there is of that.
        short: Names of the resources of which there is not enough.
        kept: Of which there is enough, but it is set aside for older work.
        holders: Who has them, largest first.
        others: How many more have some.
        first: Older work that goes first, if there is some.
        first_asked: What that asks for.
        resumes: It has begun, its children have ended, and it could go on.
    """

    asked: Amounts
    free: Amounts
    total: Amounts
    short: tuple[str, ...]
    kept: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()
    others: int = 0
    first: Brief | None = None
    first_asked: Amounts = {}
    resumes: bool = False


class NoneFree(_Reason, frozen=True, kw_only=True):
    """All workers that may serve it are busy, and there may be no more.

    Attributes:
        environment: Whose workers they are, "" if anybody's.
        workers: How many there are; some of them may be on their way out.
        most: How many there may be; 0: as many as resources allow.
        holders: What they execute, oldest first.
    """

    environment: str
    workers: int
    most: int
    holders: tuple[Holder, ...]


class NoWorker(_Reason, frozen=True, kw_only=True):
    """A worker is being started for it.

    Attributes:
        environment: Whose worker it is, "" if anybody's.
        starting: How many are.
        since: When the first of them was asked for.
        hooks: How many of them call their start-up hook.
        delay: What has to be done first, in words, or "".
        died: How many before them have died while they started.
    """

    environment: str
    starting: int
    since: float
    hooks: int = 0
    delay: str = ""
    died: int = 0


class Next(_Reason, frozen=True, kw_only=True):
    """It is given to a worker at the next occasion, within a second."""


class MemoryScarce(_Reason, frozen=True, kw_only=True):
    """The machine was short of memory: fewer workers than usual may be busy for a while.

    Attributes:
        most: How many may be.
    """

    most: int


# --- not ready ------------------------------------------------------------------------------------


class Inputs(_Reason, frozen=True, kw_only=True):
    """Some of its inputs are outcomes of others.

    Attributes:
        open: How many are not there yet.
        inputs: How many there are.
    """

    open: int
    inputs: int


class NoSlot(_Reason, frozen=True, kw_only=True):
    """It waits in a queue.

    Attributes:
        queue: Name of the queue.
        position: 1: it is the next one, of those in this controller.
        waiting: How many wait there.
        concurrency: Slots of the queue; 0: any number.
        holders: Who has slots in this controller, some of them.
        elsewhere: Slots that other controllers hold.
        next_start: When there may be another start, if its rate is what is waited for.
    """

    queue: str
    position: int
    waiting: int
    concurrency: int = 0
    holders: tuple[Brief, ...] = ()
    elsewhere: int = 0
    next_start: float | None = None


class QueueFull(_Reason, frozen=True, kw_only=True):
    """Its next call is held back: as many wait in the queue of that task as may.

    Attributes:
        queue: Name of the queue.
        task: Name of the task that is to be called.
        waiting: How many calls wait there, in this controller; 0: the journal is asked what holds.
        depth: How many may; 0: that is not known yet.
        ahead: How many calls of others, and of its own, will be let in first.
        open: How many calls that it has made have no outcome.
    """

    queue: str
    task: str
    waiting: int
    depth: int
    ahead: int = 0
    open: int = 0


class Asleep(_Reason, frozen=True, kw_only=True):
    """It is a durable sleep that ends ``until``."""

    until: float


class Unanswered(_Reason, frozen=True, kw_only=True):
    """It is a condition that somebody has to answer.

    Attributes:
        until: When it fails if nobody has; None: never.
    """

    until: float | None


class BackingOff(_Reason, frozen=True, kw_only=True):
    """Its last attempt has failed, and the next one begins ``until``."""

    until: float


class SameKey(_Reason, frozen=True, kw_only=True):
    """An identical call makes the value that it will have, too.

    Attributes:
        key: Their key, in hex.
        holder: The one that runs; None if it is another process's.
    """

    key: str
    holder: Brief | None


class HeldBack(_Reason, frozen=True, kw_only=True):
    """Its parent had cancelled it before the crash, and may be about to do so again."""


class JournalAsked(_Reason, frozen=True, kw_only=True):
    """The journal is asked what it knows of it."""


class Recorded(_Reason, frozen=True, kw_only=True):
    """It has ended, and its outcome is being recorded."""


class Unexplained(_Reason, frozen=True, kw_only=True):
    """Nobody knows: a mistake of ours."""


Reason = (
    Running
    | Stopping
    | Children
    | NoRoom
    | NoneFree
    | NoWorker
    | Next
    | MemoryScarce
    | Inputs
    | NoSlot
    | QueueFull
    | Asleep
    | Unanswered
    | BackingOff
    | SameKey
    | HeldBack
    | JournalAsked
    | Recorded
    | Unexplained
)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An action and what it waits for; the next link of the chain is what that waits for.

    Attributes:
        action: The action.
        phase: Its phase.
        attempt: 0-based number of its attempt, or of the next one.
        reason: What it waits for.
        line: Its place in the line, if it is in one.
    """

    action: Brief
    phase: Phase
    attempt: int
    reason: Reason
    line: Line | None = None


def kind(reason: Reason) -> str:
    """Return the name of a reason's class as JSON has it."""
    tag = reason.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
