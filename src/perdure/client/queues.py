"""Queues as processes see them: declaring them in the journal, and looking at them."""

import time
import warnings
from collections.abc import Iterable

import msgspec

from perdure._core.sharing import QueueLimits
from perdure.client import link
from perdure.client.words import rate
from perdure.errors import ConfigurationError, QueueNotFoundError

_told: dict[str, QueueLimits] = {}
"""What this process has declared, in the home that it uses."""

_told_home: object = None


class QueueUser(msgspec.Struct, frozen=True):
    """What one process has of a queue.

    Attributes:
        pid: Its process.
        runs: Names of the runs that it drives.
        held: Slots that it holds.
        waiting: How many actions and runs wait there.
    """

    pid: int
    runs: list[str]
    held: int
    waiting: int


class QueueState(msgspec.Struct, frozen=True):
    """A queue: its limits, and who uses it.

    Attributes:
        limits: What was declared last, at ``declared``.
        held: Slots held by all processes.
        waiting: How many actions and runs wait.
        users: The processes.
    """

    limits: QueueLimits
    declared: float
    held: int
    waiting: int
    users: list[QueueUser]


def declare(names: Iterable[str] = ()) -> None:
    """Let what this process has declared hold, and check that these queues are known.

    Raises:
        QueueNotFoundError: One of the names is not.
    """
    from perdure._api.queue import declared

    mine = declared()
    _forget_other_homes()
    fresh = [limits for limits in mine if _told.get(limits.name) != limits]
    wanted = {name for name in names if name} - {limits.name for limits in mine}
    if not fresh and not wanted:
        return
    runtime = link.runtime()
    if fresh:
        before = runtime.ask(runtime.journal.queues.declare, fresh, time.time())
        for now, then in zip(fresh, before, strict=True):
            _told[now.name] = now
            if then not in (None, now):
                assert then is not None
                warnings.warn(changed(then, now), UserWarning, stacklevel=4)
    for name in wanted - runtime.ask(runtime.journal.queues.known, sorted(wanted)).keys():
        raise unknown(name)


def _forget_other_homes() -> None:
    global _told_home
    home = link.config().home
    if home != _told_home:
        _told_home = home
        _told.clear()


def unknown(name: str) -> QueueNotFoundError:
    """Return the error for a queue that nobody has declared."""
    return QueueNotFoundError(
        f"there is no queue {name!r} in {link.config().home}",
        hint=f"declare it where the run is started, perdure.Queue({name!r}, concurrency=3), or for "
        f"all processes: perdure queue set {name} --concurrency 3",
    )


def changed(then: QueueLimits, now: QueueLimits) -> str:
    """Return the notice that other limits hold than before."""
    return (
        f"queue {now.name!r} had {in_words(then)} and has {in_words(now)} from now on, for all "
        "processes"
    )


def in_words(limits: QueueLimits) -> str:
    """Return limits as they are declared."""
    parts = []
    if limits.concurrency:
        parts.append(f"concurrency={limits.concurrency}")
    if limits.starts:
        parts.append(f'rate="{rate(limits.starts, limits.period)}"')
    if limits.depth:
        parts.append(f"depth={limits.depth}")
    if limits.priority:
        parts.append(f"priority={limits.priority}")
    return ", ".join(parts) or "no limits"


def listed() -> list[QueueState]:
    """Return the queues of the home, by name, and which living processes use them."""
    from perdure._controller.presence import is_alive

    folder = link.config().controllers
    found = []
    for row in link.views().queues.all():
        users = [
            QueueUser(
                pid=int(stake.owner.partition("-")[0]),
                runs=link.views().queues.runs_of(stake.owner),
                held=stake.held,
                waiting=stake.waiting,
            )
            for stake in row.stakes
            if is_alive(folder, stake.owner)
        ]
        held, waiting = sum(u.held for u in users), sum(u.waiting for u in users)
        found.append(QueueState(row.limits, row.declared, held, waiting, users))
    return found


def set_limits(limits: QueueLimits) -> QueueLimits | None:
    """Let limits hold from now on, for all processes; return those that held before."""
    with link.journal() as journal:
        return journal.queues.declare([limits], time.time())[0]


def remove(name: str) -> None:
    """Forget a queue.

    Raises:
        QueueNotFoundError: There is none of that name.
        ConfigurationError: It is in use.
    """
    users = [user.pid for state in listed() if state.limits.name == name for user in state.users]
    if users:
        raise ConfigurationError(
            f"queue {name!r} is in use by process {', '.join(map(str, users))}",
            hint="wait for its runs to end, or let it have no limits: perdure queue set "
            f"{name} --concurrency 0",
        )
    with link.journal() as journal:
        was_there = journal.queues.remove(name)
    if not was_there:
        raise QueueNotFoundError(
            f"there is no queue {name!r} in {link.config().home}",
            hint="perdure queue ls shows the queues there are",
        )
