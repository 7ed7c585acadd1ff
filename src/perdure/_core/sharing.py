"""How the controllers of one journal divide a queue among them.

A controller has a *stake* in each queue that it uses: slots that it holds, and starts that it may
make. From time to time it asks (:class:`Ask`): it tells what it uses and could use, and is told
what it has from now on (:class:`Grant`). Question and answer are one transaction of the journal, so
what all stakes hold together is never more than the queue has:

* **Slots** are divided by max-min fairness: everybody gets as many as it could use, or an equal
  part if there are too few. Nobody can be made to give up what it uses; but it is told its part,
  uses no more from then on, and gives the rest back as its attempts end.
* **Starts** are counted in a sliding window, the exact one that keeps a log of them: at most N
  in *any* period, so not 2 N around the turn of a fixed one, nor a burst on top of an even flow, as
  a token bucket allows. Starts that a stake may make count as if they were made.

Stakes whose work has a higher priority come first; but who has gone without for
``PATIENCE_SECONDS`` has a part of one before anybody has two. Among equals who has gone without
for longest comes first. Stakes of controllers that are gone are dropped by whoever asks next.
"""

from collections.abc import Iterable, Sequence

import msgspec

PATIENCE_SECONDS = 10.0
"""After so long without anything, priorities of others do not count any more."""

SILENT_SECONDS = 5.0
"""Who wants more and has not asked for so long is not waited for: its process is suspended."""

NOTED_SECONDS = 1.0
"""How often a stake that stays as it is is written anew, to show that somebody has it."""

PARTS = 64
"""Starts are logged with a precision of so many parts of the period; never as too early."""

Starts = tuple[tuple[float, int], ...]
"""Moments, and how many starts there were, in order."""


class QueueLimits(msgspec.Struct, frozen=True):
    """A queue as it was declared.

    Attributes:
        name: Its name.
        concurrency: Slots; 0: any number.
        starts: Starts per period; 0: any number.
        period: Seconds.
        depth: How many may wait in it; 0: any number.
        priority: Of its work, compared with that of other queues.
    """

    name: str
    concurrency: int = 0
    starts: int = 0
    period: float = 0.0
    depth: int = 0
    priority: int = 0


class Stake(msgspec.Struct, frozen=True, array_like=True):
    """What one controller has of a queue.

    Attributes:
        owner: Name of the controller.
        held: Slots that it holds.
        wanted: Slots that it could use, those included.
        tokens: Starts that it may make, or has made and not told of.
        hoped: Starts that it could make at once, those included.
        waiting: How many actions and runs wait there.
        priority: The highest among them.
        since: When it last had something.
        seen: When its controller last asked, to the second.
    """

    owner: str
    held: int = 0
    wanted: int = 0
    tokens: int = 0
    hoped: int = 0
    waiting: int = 0
    priority: int = 0
    since: float = 0.0
    seen: float = 0.0

    @property
    def lacks(self) -> bool:
        """Whether it could use more than it has."""
        return self.wanted > self.held or self.hoped > self.tokens


class Ask(msgspec.Struct, frozen=True):
    """What a controller tells when it asks for its part of a queue.

    Attributes:
        queue: Name of the queue.
        used: Slots in use: they cannot be taken away.
        starts: Made since it last asked.
        starting: Starts that are being made: nobody knows yet when they will have been.
        wanted, hoped, waiting, priority: See :class:`Stake`.
    """

    queue: str
    used: int = 0
    wanted: int = 0
    hoped: int = 0
    starts: Starts = ()
    waiting: int = 0
    priority: int = 0
    starting: int = 0


class Grant(msgspec.Struct, frozen=True):
    """What a controller has of a queue from now on.

    Attributes:
        queue: Name of the queue.
        limits: What holds for it now; None: there is no such queue.
        held: Slots.
        allowed: How many of them it may go on using.
        tokens: Starts that it may make.
        next_start: When there may be more of those, if that is what is lacking; or 0.
        others: Stakes of the other controllers.
    """

    queue: str
    limits: QueueLimits | None = None
    held: int = 0
    allowed: int = 0
    tokens: int = 0
    next_start: float = 0.0
    others: tuple[Stake, ...] = ()


class Division(msgspec.Struct, frozen=True):
    """A queue after somebody has asked.

    Attributes:
        grant: What the asking controller is told.
        stake: What it has; None: nothing, and it wants nothing.
        log: The starts that count.
    """

    grant: Grant
    stake: Stake | None
    log: Starts


def divide(
    limits: QueueLimits,
    log: Starts,
    stakes: Sequence[Stake],
    owner: str,
    ask: Ask,
    now: float,
    gone: Iterable[Stake] = (),
) -> Division:
    """Give a controller its part of a queue.

    Args:
        limits: What was declared.
        log: The starts of the last period, as far as they were told of.
        stakes: Those of all controllers that live.
        owner: Who asks.
        ask: What it tells.
        now: The time.
        gone: Stakes of controllers that do not live any more: nobody knows what they started.
    """
    others = tuple(_heard(stake, now) for stake in stakes if stake.owner != owner)
    before = next((stake for stake in stakes if stake.owner == owner), None)
    mine = Stake(
        owner=owner,
        wanted=max(ask.used, ask.wanted),
        hoped=ask.hoped + ask.starting if limits.starts else 0,
        waiting=ask.waiting,
        priority=ask.priority,
        since=before.since if before else now,
        seen=before.seen if before and now - before.seen < NOTED_SECONDS else now,
    )
    lost = sum(stake.tokens for stake in gone)
    log = _logged(log, (*ask.starts, *(((now, lost),) if lost else ())), limits.period, now)
    held, allowed = _slots(limits.concurrency, others, mine, ask.used, now)
    tokens = _tokens(limits.starts, log, others, mine, ask.starting, now)
    served = (held or not mine.wanted) and (tokens or ask.starts or not mine.hoped)
    since = now if served and (others or mine.seen == now) else mine.since
    stake = msgspec.structs.replace(mine, held=held, tokens=tokens, since=since)
    next_start = (log[0][0] if log else now) + limits.period if tokens < mine.hoped else 0.0
    more = tokens - ask.starting if limits.starts else 0
    grant = Grant(ask.queue, limits, held, allowed, more, next_start, others)
    kept = held or tokens or stake.wanted or stake.hoped or stake.waiting
    return Division(grant, stake if kept else None, log)


def _heard(stake: Stake, now: float) -> Stake:
    """Return the stake of another controller, without what it has stopped to ask for."""
    if now - stake.seen < SILENT_SECONDS:
        return stake
    return msgspec.structs.replace(stake, wanted=stake.held, hoped=stake.tokens)


def _slots(
    concurrency: int, others: Sequence[Stake], mine: Stake, used: int, now: float
) -> tuple[int, int]:
    """Return the slots that a stake holds from now on, and how many it may go on using."""
    if not concurrency:
        return mine.wanted, mine.wanted
    wants = [(stake, stake.wanted) for stake in (*others, mine)]
    allowed = _parts(concurrency, wants, now)[mine.owner]
    free = concurrency - sum(stake.held for stake in others)
    return max(used, min(allowed, free)), allowed


def _tokens(
    starts: int, log: Starts, others: Sequence[Stake], mine: Stake, starting: int, now: float
) -> int:
    """Return how many starts a stake may make from now on, with those that are being made."""
    if not starts:
        return 0
    left = starts - sum(count for _, count in log)
    hopes = [(stake, stake.hoped) for stake in (*others, mine)]
    part = _parts(left, hopes, now)[mine.owner]
    return max(starting, min(part, left - sum(stake.tokens for stake in others)))


def _parts(amount: int, wants: list[tuple[Stake, int]], now: float) -> dict[str, int]:
    """Divide an amount by priority, and among equals by max-min fairness."""
    parts = {stake.owner: 0 for stake, _ in wants}
    wanting = sorted(
        ((stake, want) for stake, want in wants if want > 0),
        key=lambda each: (-each[0].priority, each[0].since, each[0].owner),
    )
    starved = [stake for stake, _ in wanting if now - stake.since >= PATIENCE_SECONDS]
    for stake in sorted(starved, key=lambda stake: (stake.since, stake.owner))[: max(0, amount)]:
        parts[stake.owner] = 1
        amount -= 1
    for priority in dict.fromkeys(stake.priority for stake, _ in wanting):
        equals = {stake.owner: want for stake, want in wanting if stake.priority == priority}
        amount = _fill(amount, equals, parts)
    return parts


def _fill(amount: int, wants: dict[str, int], parts: dict[str, int]) -> int:
    """Raise the parts of equals evenly up to what they want; return what is left."""
    lacking = [owner for owner, want in wants.items() if parts[owner] < want]
    while amount > 0 and lacking:
        level = min(parts[owner] for owner in lacking)
        lowest = [owner for owner in lacking if parts[owner] == level]
        bounds = [wants[owner] for owner in lowest]
        bounds += [parts[owner] for owner in lacking if parts[owner] > level]
        step = min(min(bounds) - level, max(1, amount // len(lowest)))
        for owner in lowest[:amount]:
            parts[owner] += step
            amount -= step
        lacking = [owner for owner in lacking if parts[owner] < wants[owner]]
    return amount


def _logged(log: Starts, more: Starts, period: float, now: float) -> Starts:
    """Return the log with more starts, and without those that are a period old."""
    if not period:
        return ()
    part = period / PARTS
    merged: list[tuple[float, int]] = []
    for moment, count in sorted((*log, *more)):
        if moment <= now - period:
            continue
        same = merged and moment // part == merged[-1][0] // part
        merged.append((moment, count + merged.pop()[1] if same else count))
    return tuple(merged)
