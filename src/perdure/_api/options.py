"""Settings of tasks: what users write, and what it means to the scheduler."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from perdure._api import growth
from perdure._api.caching import Cache
from perdure._api.image import image_of
from perdure._api.queue import queue_name
from perdure._api.resources import Resources, refuse
from perdure._api.secrets import secrets_of
from perdure._core.model import MANY, RetryPolicy, Reuse, TimeoutPolicy
from perdure._quantity import quantity
from perdure.errors import (
    ConfigurationError,
    NonRecoverableError,
    PerdureError,
    RemoteError,
)

_DAY = 86_400.0


def seconds(option: str, value: object) -> float | None:
    """Return a time limit in seconds; ``None`` and 0 mean no limit.

    Raises:
        ConfigurationError: It is neither a number nor a timedelta, or it is negative.
    """
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigurationError(
            f"{option}={value!r} is not a time limit",
            hint="give seconds or a timedelta; None means no limit",
        )
    return float(value) or None


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a retry: ``min(cap, base * factor**n)``, spread by ``jitter``.

    Attributes:
        base: Seconds (or timedelta) before the first retry.
        factor: Growth from one retry to the next.
        cap: Upper bound in seconds (or timedelta); ``None``: a day.
        jitter: Fraction (0..1) by which a delay is spread.
    """

    base: float | timedelta = 0.0
    factor: float = 2.0
    cap: float | timedelta | None = 60.0
    jitter: float = 0.25

    def __post_init__(self) -> None:
        if not (_plain(self.base) >= 0 and self.bound() >= 0):
            raise ConfigurationError(f"{self}: base and cap cannot be negative")
        if not (self.factor >= 1 and 0 <= self.jitter <= 1):
            raise ConfigurationError(f"{self}: factor must be >= 1 and jitter between 0 and 1")

    def bound(self) -> float:
        """Return ``cap`` in seconds."""
        return _DAY if self.cap is None else _plain(self.cap)


def _plain(duration: float | timedelta) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


@dataclass(frozen=True, slots=True)
class RetryStrategy:
    """How often, how soon and for which errors a failed task is attempted again.

    Attributes:
        count: Attempts after the first one.
        backoff: Delays between attempts; ``None``: no delay.
        on: Exception classes that are worth a retry; all by default. Errors that say they are
            not (:class:`perdure.errors.NonRecoverableError`, type errors at a call, ...) never are.
        on_oom: What to ask for when the memory did not suffice. ``Resources(memory="x2")`` asks for
            twice as much each time, ``"+512Mi"`` for so much more, ``"8Gi"`` once for that. Or a
            function ``(n, resources)``: what to ask for after it did not suffice for the n-th time,
            ``resources`` being what was asked for; None gives up. It is called where the task is
            defined, not when it happens. These attempts, eight at most, do not count as retries,
            and come at once.
    """

    count: int = 0
    backoff: Backoff | None = None
    on: tuple[type[BaseException], ...] | type[BaseException] = ()
    on_oom: Resources | Callable[[int, Resources], Resources | None] | None = None

    def __post_init__(self) -> None:
        if not (self.on_oom is None or isinstance(self.on_oom, Resources) or callable(self.on_oom)):
            raise ConfigurationError(
                f"on_oom={self.on_oom!r} is neither perdure.Resources nor a function",
                hint='write on_oom=perdure.Resources(memory="x2")',
            )
        if isinstance(self.on_oom, Resources) and (
            self.on_oom.memory is None or self.on_oom != Resources(memory=self.on_oom.memory)
        ):
            raise ConfigurationError(
                f"on_oom={self.on_oom!r}: what grows is memory",
                hint='write on_oom=perdure.Resources(memory="x2"), or a function that returns what '
                "to ask for",
            )
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 0:
            raise ConfigurationError(f"retries={self.count!r} is not a number of retries")
        kinds = self.on if isinstance(self.on, tuple) else (self.on,)
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise ConfigurationError(f"on={kind!r} is not an exception class")
        object.__setattr__(self, "on", kinds)

    @classmethod
    def of(cls, retries: object) -> "RetryStrategy":
        """Return what ``retries=`` means: a strategy, a count, or None."""
        if isinstance(retries, RetryStrategy):
            return retries
        return cls(0 if retries is None else retries)  # type: ignore[arg-type]  # checked above

    def policy(self, resources: Resources) -> RetryPolicy:
        """Return the part that the scheduler applies to tasks that ask for these resources.

        Raises:
            ConfigurationError: They do not go with ``on_oom``.
        """
        wait, on_oom = self.backoff or Backoff(), self.on_oom
        more = [] if on_oom is None else growth.steps(on_oom, resources)
        return RetryPolicy(
            self.count, _plain(wait.base), wait.factor, wait.bound(), wait.jitter,
            tuple(each.demand() for each in more),
        )  # fmt: skip

    def allows(self, error: BaseException) -> bool:
        """Return whether this error may be retried."""
        if isinstance(error, NonRecoverableError):
            return False
        # What a RemoteError stands for is a child's failure, not a verdict about retrying.
        if isinstance(error, PerdureError) and not isinstance(error, RemoteError):
            retryable = error.retryable
        else:
            retryable = True
        return retryable and (not self.on or isinstance(error, self.on))


@dataclass(frozen=True, slots=True)
class Timeout:
    """Time limits of a task, in seconds or as timedelta; ``None`` and 0 mean no limit.

    Attributes:
        max_runtime: For one attempt, from its start.
        max_queued_time: For waiting until an attempt starts.
        deadline: For the action as a whole, retries included.
    """

    max_runtime: float | timedelta | None = None
    max_queued_time: float | timedelta | None = None
    deadline: float | timedelta | None = None

    def __post_init__(self) -> None:
        self.policy()

    @classmethod
    def of(cls, timeout: object) -> "Timeout":
        """Return what ``timeout=`` means: limits, seconds or timedelta of one attempt, or None."""
        if isinstance(timeout, Timeout):
            return timeout
        return cls(seconds("timeout", timeout))

    def policy(self) -> TimeoutPolicy:
        """Return the limits in plain seconds."""
        return TimeoutPolicy(
            seconds("max_runtime", self.max_runtime),
            seconds("max_queued_time", self.max_queued_time),
            seconds("deadline", self.deadline),
        )


@dataclass(frozen=True, slots=True)
class ReusePolicy:
    """How the tasks of an environment share worker processes of their own.

    Without a policy tasks use the workers that are there for everybody, one attempt at a time.

    Attributes:
        replicas: Number of workers: ``n``, or ``(min, max)``; ``min`` are started together, and
            kept while the environment is in use. ``None``: as many as there is work for and
            resources allow. ``def`` and ``async def`` tasks, tasks with other ``env_vars`` or
            another number of cores, and runs of other code have workers of their own, each so
            many; a ``def`` task that waits for its children makes room for one more.
        idle_ttl: Seconds or timedelta after which all workers end, if none had anything to do.
        concurrency: Attempts that run at once in one worker, for one share of ``resources`` in
            all; more than 1 for ``async def`` tasks only. Parents that wait for their children do
            not count.
        scaledown_ttl: Seconds or timedelta after which a worker beyond ``min`` ends that has
            nothing to do.
        scope: ``"global"``: runs share workers; ``"run"``: each has workers of its own.
        max_attempts: Attempts after which a worker is replaced by a fresh one; 1: each has a
            process of its own. ``None``: never.
        max_memory: Bytes, or a quantity such as ``"4Gi"``: a worker that has more for itself when
            an attempt ends is replaced. ``None``: never.
    """

    replicas: int | tuple[int, int] | None = None
    idle_ttl: float | timedelta = 30.0
    concurrency: int = 1
    scaledown_ttl: float | timedelta = 30.0
    scope: str = "global"
    max_attempts: int | None = None
    max_memory: int | str | None = None

    def __post_init__(self) -> None:
        least, most = self.bounds()
        if not (_is_whole(least) and _is_whole(most) and 0 <= least <= most > 0):
            raise ConfigurationError(
                f"replicas={self.replicas!r} is not a number of workers",
                hint="give a number, or (min, max); None: as many as there is work for",
            )
        if not _is_whole(self.concurrency) or self.concurrency < 1:
            raise ConfigurationError(f"concurrency={self.concurrency!r} is not a positive number")
        for option in ("idle_ttl", "scaledown_ttl"):
            if getattr(self, option) is None:
                raise ConfigurationError(f"{option}=None: give seconds, or a timedelta")
            seconds(option, getattr(self, option))
        if self.scope not in ("global", "run"):
            raise ConfigurationError(f'scope={self.scope!r} is neither "global" nor "run"')
        if self.max_attempts is not None and not (
            _is_whole(self.max_attempts) and self.max_attempts > 0
        ):
            raise ConfigurationError(f"max_attempts={self.max_attempts!r} is not a positive number")
        if self.max_memory is not None and quantity("max_memory", self.max_memory) < 1:
            raise ConfigurationError(f"max_memory={self.max_memory!r} leaves no memory")

    @classmethod
    def of(cls, reusable: object) -> "ReusePolicy | None":
        """Return what ``reusable=`` means.

        A policy; ``"shared"``: none; or ``None``, ``"off"``, ``"isolated"``: nothing is reused.
        """
        if isinstance(reusable, ReusePolicy):
            return reusable
        if not reusable or reusable in ("off", "isolated"):
            return cls(max_attempts=1)
        if reusable == "shared":
            return None
        raise ConfigurationError(
            f"reusable={reusable!r} is not perdure.ReusePolicy",
            hint="write reusable=perdure.ReusePolicy(replicas=(0, 4), concurrency=10); None: a "
            'process for each attempt; "shared", as if nothing was said: everybody\'s',
        )

    def bounds(self) -> tuple[int, int]:
        """Return ``replicas`` as (min, max)."""
        if self.replicas is None:
            return 0, MANY
        if isinstance(self.replicas, tuple) and len(self.replicas) == 2:
            return self.replicas
        return self.replicas, self.replicas

    def reuse(self, environment: str) -> Reuse:
        """Return the part that the scheduler applies, to that environment's workers."""
        return Reuse(
            environment,
            self.concurrency,
            *self.bounds(),
            _plain(self.idle_ttl),
            _plain(self.scaledown_ttl),
            self.max_attempts or 0,
            round(quantity("max_memory", self.max_memory or 0)),
            per_run=self.scope == "run",
        )


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


_HINTS = {
    "checkpoint": "leave it out: every action has perdure.ctx().checkpoint",
    "triggers": "start runs when they are due: python script.py, or perdure run script.py",
}

_LEAVE = "leave it out"

NOT_BUILT = frozenset({
    "plugin_config", "pod_template", "labels", "consumes_artifacts",
    "interruptible", "max_inline_io_bytes", "triggers", "links", "task_resolver", "checkpoint",
    "schedule", "priority", "service_account", "include",
})  # fmt: skip

TASK_OPTIONS = frozenset({
    "short_name", "resources", "retries", "timeout", "cache", "env_vars", "docs", "reusable",
    "report", "entrypoint", "produces_artifacts", "image", "secrets", "queue",
})  # fmt: skip


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that are unknown, or known but not built yet (unless falsy: not given).

    Raises:
        NotSupportedError: The option is known, and not supported yet.
        ConfigurationError: There is no such option, or its value makes no sense.
    """
    for option, value in options.items():
        if option in NOT_BUILT:
            if value:
                raise refuse(option, hint=_HINTS.get(option, _LEAVE))
        elif option not in TASK_OPTIONS:
            close = get_close_matches(option, TASK_OPTIONS, 1)
            hint = f"did you mean {close[0]}?" if close else f"options: {sorted(TASK_OPTIONS)}"
            raise ConfigurationError(f"there is no option {option!r}", hint=hint)
    resources = options.get("resources")
    if resources is not None and not isinstance(resources, Resources):
        raise ConfigurationError(
            f"resources={resources!r} is not perdure.Resources",
            hint='write resources=perdure.Resources(cpu=2, memory="1Gi")',
        )
    if resources is not None and growth.is_relative(resources.memory):
        raise ConfigurationError(
            f"memory={resources.memory!r} says how a request grows, and there is none yet",
            hint="give it to RetryStrategy(on_oom=...), and the task a number of bytes",
        )
    for option in ("report", "entrypoint", "produces_artifacts"):
        if not isinstance(options.get(option), bool | None):
            raise refuse(f"{option}={options[option]!r}", hint=f"give True or False, or {_LEAVE}")
    Cache.of(options.get("cache"))
    image_of(options.get("image"))
    RetryStrategy.of(options.get("retries"))
    Timeout.of(options.get("timeout"))
    ReusePolicy.of(options.get("reusable"))
    secrets_of(options.get("secrets"))
    queue_name(options.get("queue"))
    _check_env_vars(options.get("env_vars"))


def _check_env_vars(env_vars: object) -> None:
    if env_vars is None:
        return
    if not isinstance(env_vars, Mapping) or not all(
        isinstance(name, str) and isinstance(value, str) for name, value in env_vars.items()
    ):
        raise ConfigurationError(f"env_vars={env_vars!r} must map strings to strings")
