"""Named queues, as users declare them."""

import re
from dataclasses import dataclass
from datetime import timedelta

from perdure._core.sharing import QueueLimits
from perdure.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_RATE = re.compile(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*([smhd])\s*")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

_declared: dict[str, "Queue"] = {}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many starts in any period.

    Attributes:
        count: How many.
        per: The period, in seconds or as timedelta.
    """

    count: int
    per: float | timedelta = 60.0

    def __post_init__(self) -> None:
        if not _is_whole(self.count) or self.count < 1:
            raise ConfigurationError(f"Rate({self.count!r}): give a positive number of starts")
        if isinstance(self.per, bool) or not isinstance(self.per, int | float | timedelta):
            raise ConfigurationError(f"Rate(per={self.per!r}): give seconds, or a timedelta")
        if not 0 < self.seconds() < float("inf"):
            raise ConfigurationError(f"Rate(per={self.per!r}) is no period")

    @classmethod
    def of(cls, rate: object) -> "Rate | None":
        """Return what ``rate=`` means: a rate, a text such as ``"100/m"``, or None."""
        if rate is None or isinstance(rate, Rate):
            return rate
        match = _RATE.fullmatch(rate) if isinstance(rate, str) else None
        if match is None:
            raise ConfigurationError(
                f"rate={rate!r} is no rate",
                hint='write "100/m", "5/s", "10/30s", or perdure.Rate(100, per=60)',
            )
        return cls(int(match[1]), float(match[2] or 1) * _SECONDS[match[3]])

    def seconds(self) -> float:
        """Return the period in seconds."""
        return self.per.total_seconds() if isinstance(self.per, timedelta) else float(self.per)


@dataclass(frozen=True, slots=True)
class Queue:
    """A named queue; its limits hold for all processes that share the journal.

    Give it, or its name, to tasks (``queue=`` of an environment, a task or ``override``): so many
    of their attempts run at once. Or give it to a run (``perdure.run(task, queue=...)``): so many
    runs are under way at once. Declared in a module, it is known wherever runs are started that
    import the module. The newest declaration of a name holds, for everybody.

    Attributes:
        name: Its name: letters, digits, ``.``, ``-`` and ``_``.
        concurrency: How many run at once; ``None``: any number.
        rate: How many start in a period: a :class:`Rate`, or a text such as ``"100/m"``; ``None``:
            any number.
        depth: How many may wait in it. One more run is refused with
            :class:`perdure.errors.QueueFullError`; whoever makes one more call is held back until
            there is room, in each process on its own. ``None``: any number.
        priority: Work of a queue with a higher one goes first where resources are short; it is
            added to that of the run.
    """

    name: str
    concurrency: int | None = None
    rate: Rate | str | None = None
    depth: int | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        checked_name(self.name)
        for option in ("concurrency", "depth"):
            number = getattr(self, option)
            if number is not None and (not _is_whole(number) or number < 1):
                raise ConfigurationError(
                    f"Queue({self.name!r}, {option}={number!r}): give a positive number",
                    hint="None: any number",
                )
        Rate.of(self.rate)
        checked_priority(self.priority)
        _declared[self.name] = self

    def limits(self) -> QueueLimits:
        """Return what the scheduler applies."""
        rate = Rate.of(self.rate)
        return QueueLimits(
            self.name,
            self.concurrency or 0,
            rate.count if rate else 0,
            rate.seconds() if rate else 0.0,
            self.depth or 0,
            self.priority,
        )


def queue_name(queue: object) -> str:
    """Return the name that ``queue=`` means: of a :class:`Queue`, a plain name, or none.

    Raises:
        ConfigurationError: It is neither.
    """
    if queue is None:
        return ""
    if isinstance(queue, Queue):
        return queue.name
    return checked_name(queue) if queue != "" else ""


def declared() -> list[QueueLimits]:
    """Return the queues that were declared in this process."""
    return [queue.limits() for queue in _declared.values()]


def checked_name(name: object) -> str:
    """Return the name of a queue.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is not the name of a queue",
            hint="it consists of letters, digits, '.', '-' and '_'",
        )
    return name


def checked_priority(priority: object) -> int:
    """Return a priority.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > 1_000_000:
        raise ConfigurationError(
            f"priority={priority!r} is not a whole number", hint="higher goes first; 0 is usual"
        )
    return priority


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
