"""Tasks: functions whose calls, inside a run, are durable actions.

A task keeps the colour of its function. What a call does depends on where it is made:

===================  ==========================  =====================================
call                 outside any run             inside a run
===================  ==========================  =====================================
``task(...)``        calls the function          ``def``: blocks, returns the value;
                                                 ``async def``: a submitted ``Future``
``task.aio(...)``    awaitable of the function   a submitted ``Future``
``task.submit(...)`` a finished ``Future``       a submitted ``Future``
``task.forward(.)``  calls the function          calls the function
===================  ==========================  =====================================
"""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

import msgspec

from perdure import _serde
from perdure._api import caching, locating
from perdure._api.binding import Binder
from perdure._api.caching import Cache
from perdure._api.future import FinishedFuture, Future, on_loop
from perdure._api.image import Image, image_of
from perdure._api.options import RetryStrategy, ReusePolicy, Timeout, check_options
from perdure._api.queue import queue_name
from perdure._api.resources import Resources
from perdure._api.scope import Scope, current
from perdure._api.secrets import secrets_of
from perdure._core.model import ImageRef, Reuse, SecretRef, TaskSpec
from perdure._modules import canonical
from perdure._secrets import masking
from perdure.errors import (
    ConfigurationError,
    ExecutionError,
    NestingTooDeepError,
    SerializationError,
    SyncTaskCallInAsyncContextError,
)

if TYPE_CHECKING:
    from perdure._api.environment import TaskEnvironment

P = ParamSpec("P")
R = TypeVar("R")

MAX_DEPTH = 100
"""Levels of tasks calling tasks."""


@dataclass(frozen=True)
class Settings:
    """How a task is executed: its environment, its decorator and its overrides, merged."""

    resources: Resources = field(default_factory=Resources)
    retries: RetryStrategy = field(default_factory=RetryStrategy)
    timeout: Timeout = field(default_factory=Timeout)
    env_vars: tuple[tuple[str, str], ...] = ()
    short_name: str = ""
    reusable: ReusePolicy | None = None
    cache: Cache = field(default_factory=lambda: Cache("disable"))
    entrypoint: bool = False
    secrets: tuple[SecretRef, ...] = ()
    image: Image | None = None
    queue: str = ""

    def changed(self, options: dict[str, Any]) -> "Settings":
        """Return these settings with ``options`` applied; None means the default."""
        return Settings(
            (options["resources"] or Resources()) if "resources" in options else self.resources,
            RetryStrategy.of(options["retries"]) if "retries" in options else self.retries,
            Timeout.of(options["timeout"]) if "timeout" in options else self.timeout,
            tuple(sorted((options["env_vars"] or {}).items()))
            if "env_vars" in options
            else self.env_vars,
            options["short_name"] or "" if "short_name" in options else self.short_name,
            ReusePolicy.of(options["reusable"]) if "reusable" in options else self.reusable,
            Cache.of(options["cache"]) if "cache" in options else self.cache,
            bool(options["entrypoint"]) if "entrypoint" in options else self.entrypoint,
            secrets_of(options["secrets"]) if "secrets" in options else self.secrets,
            image_of(options["image"]) if "image" in options else self.image,
            queue_name(options["queue"]) if "queue" in options else self.queue,
        )


class Task(Generic[P, R]):
    """A function with execution settings, made by ``TaskEnvironment.task``.

    Attributes:
        name: Full name, ``<environment>.<function>``, under which its calls are recorded.
        env: The environment it belongs to.
        function: The plain function.
        settings: How it is executed.
        is_async: Whether the function is ``async def``.
    """

    def __init__(
        self, function: Callable[P, R], env: "TaskEnvironment", settings: Settings
    ) -> None:
        name = f"{env.name}.{settings.short_name or _short_name(function)}"
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"task {name} is a generator",
                hint="return a list, or journal a generator's items with perdure.trace",
            )
        if not callable(function):
            raise ConfigurationError(f"{function!r} is not a function")
        functools.update_wrapper(self, function)
        self.name = name
        self.env = env
        self.function = function
        self.settings = settings
        self.is_async = inspect.iscoroutinefunction(function)
        self._spec: TaskSpec | None = None
        self._binder: Binder | None = None
        settings.retries.policy(settings.resources)
        self._check_settings()

    def check_ignored(self, cache: object) -> None:
        """Refuse a cache of this task that ignores inputs which it does not have."""
        if not isinstance(cache, Cache):
            return
        known = inspect.signature(self.function).parameters
        if unknown := [name for name in cache.ignored_inputs if name not in known]:
            raise ConfigurationError(
                f"Cache(ignored_inputs={unknown[0]!r}): task {self.name} has no such parameter",
                hint=f"it has {', '.join(known) or 'none'}",
                task=self.name,
            )

    def _check_settings(self) -> None:
        """Refuse settings that do not go together."""
        reusable = self.settings.reusable
        plain = dict(self.settings.env_vars)
        for secret in self.settings.secrets:
            if secret.variable in plain:
                raise ConfigurationError(
                    f"task {self.name}: {secret.variable} is in env_vars, and to hold the secret "
                    f"{secret.name!r}",
                    hint="take it out of env_vars: those are recorded with the run",
                    task=self.name,
                )
        if reusable is not None and reusable.concurrency > 1 and not self.is_async:
            raise ConfigurationError(
                f"task {self.name} is a def: only async def tasks run beside each other in one "
                f"worker, as concurrency={reusable.concurrency} says",
                hint="make it an async def, or give it ReusePolicy(concurrency=1): each worker "
                "then runs one at a time, and there are as many workers as replicas allow",
                task=self.name,
            )

    # --- calling ----------------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        scope = current()
        if scope is None:
            return self.function(*args, **kwargs)
        if self.is_async:
            return self._submit(scope, args, kwargs)  # type: ignore[return-value]  # awaitable of R
        if on_loop():
            raise SyncTaskCallInAsyncContextError(
                "calling a def task here would block the event loop",
                hint=f"write: await {self.function.__name__}.aio(...)",
                task=self.name,
            )
        return self._submit(scope, args, kwargs).result()  # type: ignore[no-any-return]

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[Any]:
        """Call the task from async code: an awaitable of its result."""
        scope = current()
        if scope is not None:
            return self._submit(scope, args, kwargs)
        if self.is_async:
            return self.function(*args, **kwargs)  # type: ignore[return-value]  # a coroutine
        return self._call_later(*args, **kwargs)

    async def _call_later(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Future[Any]:
        """Start a call and return its future, in sync and in async code.

        Sync code waits here while as many calls wait in the task's queue as its ``depth`` allows;
        in async code it is the call that waits.
        """
        scope = current()
        if scope is not None:
            return self._submit(scope, args, kwargs)
        call = functools.partial(self.function, *args, **kwargs)
        if not self.is_async:
            return FinishedFuture(self.name, call)
        if on_loop():
            # Cannot be finished without blocking; an asyncio task behaves alike where it counts.
            return cast("Future[Any]", asyncio.ensure_future(cast("Awaitable[Any]", call())))
        return FinishedFuture(
            self.name, lambda: asyncio.run(cast("Coroutine[Any, Any, Any]", call()))
        )

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function, here and now; never an action of its own."""
        return self.function(*args, **kwargs)

    def _submit(self, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        if scope.depth >= MAX_DEPTH:
            raise NestingTooDeepError(
                f"tasks call tasks {MAX_DEPTH} levels deep",
                hint="a recursion without end? otherwise write it as a loop or with perdure.map",
                run=scope.run,
                task=self.name,
            )
        values = (self._binder or self.binder()).bind(args, kwargs)
        try:
            inputs = _serde.dumps(values, scope.blobs)
        except SerializationError as error:
            error.task = error.task or self.name
            raise
        if (mask := masking.installed()) is not None:
            mask.refuse(f"an argument of {self.name}", inputs.data)
        spec = self._spec or self.spec()
        if spec.image.recipe:
            _recipes().store(spec.image, scope.blobs)
        if spec.cache is None:
            future = scope.call(spec, inputs)
        else:
            future = scope.call(spec, inputs, caching.marks(spec.cache, inputs, scope.blobs))
        if spec.queue:
            future.enter()
        return future

    # --- what workers and runs need ---------------------------------------------------------------

    @property
    def signature(self) -> inspect.Signature:
        """The signature of the function."""
        return self.binder().signature

    def binder(self) -> Binder:
        """Return the compiled signature."""
        if self._binder is None:
            self._binder = Binder(self.name, self.function)
        return self._binder

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs of a call: ``{parameter: value}``, checked, defaults applied.

        Raises:
            TypeCheckError: An argument is missing, unexpected or does not fit its type hint.
        """
        return self.binder().bind(args, kwargs)

    def spec(self) -> TaskSpec:
        """Return everything that decides how the task is executed."""
        # What travels by value is taken anew for each run: what it refers to may have changed since
        # (a notebook's cell was run again), and so may the files that an image names. Inside a run
        # it is what the run started with.
        known, settings = self._spec, self.settings
        if known is not None and current() is None:
            known = known if known.loader.kind != "pickle" and settings.image is None else None
        if known is None:
            from perdure._bundle import fingerprint

            image, env_vars = ImageRef(), settings.env_vars
            if settings.image is not None:
                image = _recipes().refer(settings.image)
                of_image = _recipes().variables(settings.image)
                env_vars = tuple(sorted((of_image | dict(env_vars)).items()))
            reuse = self._reuse()
            known = self._spec = TaskSpec(
                name=self.name,
                loader=locating.loader_of(self),
                is_async=self.is_async,
                code=fingerprint(self.function),
                demand=settings.resources.demand(),
                retry=settings.retries.policy(settings.resources),
                timeout=settings.timeout.policy(),
                env_vars=env_vars,
                reuse=reuse,
                cache=caching.policy(self, image) if settings.cache.is_enabled else None,
                image=image,
                queue=settings.queue,
            )
        return known

    def _reuse(self) -> Reuse:
        startup = self.env.startup()
        policy = self.settings.reusable
        if policy is None and startup is not None:
            policy = ReusePolicy()  # what is started up for one environment is not for others
        reuse = Reuse() if policy is None else policy.reuse(self.env.name)
        secrets = self.settings.secrets
        if startup is None and not secrets:
            return reuse
        return msgspec.structs.replace(
            reuse, startup=startup, startup_limit=self.env.startup_limit, secrets=secrets
        )

    def forget_spec(self) -> None:
        """Something that decides how it is executed has changed."""
        self._spec = None

    def override(self, **options: Any) -> "Task[P, R]":
        """Return this task with other settings; falsy values count, None means the default.

        Args:
            **options: ``resources``, ``retries``, ``timeout``, ``cache``, ``env_vars``,
                ``secrets``, ``image``, ``queue``, ``short_name``, ``report``, ``entrypoint``,
                ``produces_artifacts``,
                ``reusable`` (a :class:`ReusePolicy`, ``None`` or ``"shared"``).

        Raises:
            ConfigurationError: There is no such option, or its value makes no sense.
            NotSupportedError: The option is not built yet.
        """
        check_options(options)
        self.check_ignored(options.get("cache"))
        return self.with_settings(self.settings.changed(options))

    def with_settings(self, settings: Settings) -> "Task[P, R]":
        """Return this task, executed in another way."""
        # Not copy.copy: that is pickling by name, and gives this very task back.
        view: Task[P, R] = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.settings = settings
        view.name = f"{self.env.name}.{settings.short_name or _short_name(self.function)}"
        view._spec = None  # of the same class
        settings.retries.policy(settings.resources)
        view._check_settings()
        return view

    # --- identity and pickling --------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<{'async ' if self.is_async else ''}task {self.name}>"

    def __get__(self, instance: object, owner: type | None = None) -> "Task[P, R]":
        if instance is not None:
            raise ConfigurationError(
                f"task {self.name} is a method",
                hint="make it a function (or a staticmethod) and pass the object as an argument",
            )
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        original = locating.named(self)
        if original is None:
            return super().__reduce_ex__(protocol)
        settings = None if self.settings == original.settings else self.settings
        return _restore, (canonical(self.__module__), self.function.__qualname__, settings)

    def __getstate__(self) -> dict[str, Any]:
        # What is derived is derived again; compiled checks do not pickle.
        return self.__dict__ | {"_spec": None, "_binder": None}


def _recipes() -> ModuleType:
    """Return what images mean, for those who have any: it knows a lot of the standard library."""
    from perdure._api import recipes

    return recipes


def _short_name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "task")


def _restore(module: str, qualname: str, settings: Settings | None) -> Task[..., Any]:
    task = locating.find_task(module, qualname)
    return task if settings is None else task.with_settings(settings)


def closed(scope: Scope) -> ExecutionError:
    """Return the error for a call from an attempt that has ended."""
    return ExecutionError(
        "a call was made after the calling action had ended",
        hint="wait for the threads and asyncio tasks a task starts before it returns",
        run=scope.run,
        action=scope.action.hex(),
        task=scope.task,
    )
