"""Task environments: settings that several tasks share."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, NoReturn, ParamSpec, TypeVar, overload

from perdure._api import locating
from perdure._api.hooks import AnyHook, Hook, check_hook
from perdure._api.image import image_of
from perdure._api.options import check_options, seconds
from perdure._api.queue import Queue
from perdure._api.scope import current
from perdure._api.task import Settings, Task
from perdure._core.model import Loader
from perdure._modules import canonical
from perdure.errors import ConfigurationError, NotSupportedError

P = ParamSpec("P")
R = TypeVar("R")


class TaskEnvironment:
    """A named group of tasks that share settings.

    Example::

        env = perdure.TaskEnvironment("flights", resources=perdure.Resources(cpu=2))


        @env.task(retries=3)
        def clean(month: int) -> int: ...

    Args:
        name: First part of the names of its tasks.
        resources: What one attempt needs; see :class:`Resources`.
        image: What its tasks find installed; see :class:`Image`. ``None`` or ``"auto"``: what is
            installed here. A string names an image of a registry.
        cache: ``"auto"``: results are kept and found again, in any run; ``"override"``: kept, but
            not looked for; ``"disable"``: neither; or a :class:`Cache`.
        reusable: A :class:`ReusePolicy`: its tasks have worker processes of their own, as many as
            that says, with as many attempts at once. ``None`` (or ``"off"``, ``"isolated"``):
            nothing is reused, each attempt has a fresh process. ``"shared"``: they use everybody's.
        env_vars: Environment variables of the worker process.
        secrets: What its workers find in their environment and nobody else sees: a name, a
            :class:`Secret`, or a list of them.
        queue: A :class:`Queue`, or the name of one: so many of its tasks' attempts run at once.
        depends_on: Environments whose tasks are called from here.
        plugin_config: Not supported yet.
        description: For people.
        **others: Options that Flyte 2 has and this version lacks are refused by name.

    Raises:
        ConfigurationError: An option makes no sense.
        NotSupportedError: An option is not built yet.
    """

    def __init__(
        self,
        name: str,
        *,
        resources: Any = None,
        image: Any = None,
        cache: Any = "disable",
        reusable: Any = "shared",
        env_vars: Mapping[str, str] | None = None,
        secrets: Any = None,
        queue: str | Queue | None = None,
        depends_on: "Iterable[TaskEnvironment] | None" = None,
        plugin_config: Any = None,
        description: str | None = None,
        **others: Any,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"name={name!r} is not the name of an environment")
        options = {
            "resources": resources,
            "image": image,
            "cache": cache,
            "reusable": reusable,
            "env_vars": env_vars,
            "secrets": secrets,
            "queue": queue,
            "plugin_config": plugin_config,
        }
        check_options(options | others)
        self.name = name
        self.image = image_of(image)
        self.description = description
        self.depends_on = list(depends_on or ())
        self.tasks: dict[str, Task[..., Any]] = {}
        self.hook: Hook | None = None
        self.startup_limit = 0.0
        self._startup: Loader | None = None
        self._options = options

    @classmethod
    def from_task(cls, name: str, *tasks: Task[..., Any], **options: Any) -> NoReturn:
        """Refuse: it is for tasks without an environment, and every task has one."""
        raise NotSupportedError(
            f"TaskEnvironment.from_task({name!r}, ...) is not supported",
            hint="decorate the function: @env.task",
        )

    def prewarm(self) -> NoReturn:
        """Refuse: workers are started with the first call that they can serve."""
        raise NotSupportedError(
            f"prewarm() of the environment {self.name} is not supported",
            hint="leave it out: ReusePolicy(replicas=(n, m)) starts n workers with the first call, "
            "in milliseconds; for what a hook loads, call a task that does nothing ahead of time",
        )

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, /, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(self, function: Any = None, /, **options: Any) -> Any:
        """Make a task of a function; a decorator, with or without options.

        Args:
            function: The function, when used without parentheses.
            **options: ``short_name`` (instead of the function's name), ``retries`` (a number or a
                :class:`RetryStrategy`), ``timeout`` (seconds, timedelta or :class:`Timeout`),
                ``resources``, ``cache``, ``env_vars``, ``secrets``, ``reusable``, ``image``,
                ``queue``, ``docs``,
                ``entrypoint`` (what ``perdure run FILE`` runs, unless it is told which task),
                ``report`` and ``produces_artifacts`` (every task may have a report and publish
                artifacts).

        Raises:
            ConfigurationError: An option makes no sense.
            NotSupportedError: An option is not built yet.
        """
        check_options(options)
        # Of reusable=, None says something: that nothing is.
        given = {n: value for n, value in options.items() if value is not None or n == "reusable"}

        def decorate(function: Callable[P, R]) -> Task[P, R]:
            settings = Settings().changed(self._options).changed(given)
            task = Task(function, self, settings)
            task.check_ignored(given.get("cache"))
            self._refuse_another(task)
            self.tasks[task.name] = task
            return task

        return decorate if function is None else decorate(function)

    @overload
    def on_start(self, hook: AnyHook, /) -> AnyHook: ...
    @overload
    def on_start(
        self, /, *, timeout: float | timedelta | None = None
    ) -> Callable[[AnyHook], AnyHook]: ...
    def on_start(self, hook: Any = None, /, *, timeout: float | timedelta | None = None) -> Any:
        """Have a function called once in each worker of the environment, before its first attempt.

        What it returns is ``perdure.ctx().state`` in all attempts of that worker::

            @env.on_start
            def load():
                return load_model("large")

            @env.task
            def predict(x: float) -> float:
                return perdure.ctx().state(x)

        If it returns nothing, what it has put into ``perdure.ctx().state`` is there, by name. It
        takes no arguments. An ``async def`` function is called on the event loop that
        ``async def`` tasks run on. If it raises, another worker is tried; after three in a row the
        calls that wait for one fail with its exception. Tasks of the environment have workers of
        their own, with or without a :class:`ReusePolicy`.

        Args:
            hook: The function, when used without parentheses.
            timeout: Seconds or timedelta that it may take; a worker whose hook takes longer is
                ended, as if the hook had raised a ``TaskTimeoutError``. ``None``: no limit.

        Raises:
            ConfigurationError: It is no such function, or there is another one.
        """
        limit = seconds("timeout", timeout) or 0.0

        def decorate(hook: AnyHook) -> AnyHook:
            check_hook(hook, self.name, self.hook)
            self.hook, self.startup_limit, self._startup = hook, limit, None
            for task in self.tasks.values():
                task.forget_spec()
            return hook

        return decorate if hook is None else decorate(hook)

    def startup(self) -> Loader | None:
        """Return how a worker finds the start-up hook; None if there is none."""
        if self.hook is None:
            return None
        # As with tasks: what travels by value is taken anew outside runs, and only there.
        stale = self._startup is not None and self._startup.kind == "pickle" and current() is None
        if self._startup is None or stale:
            self._startup = locating.loader_of_hook(self.hook)
        return self._startup

    def _refuse_another(self, task: Task[..., Any]) -> None:
        """Keep names unique: results are recorded under them. Defining a task anew is no other."""
        known = self.tasks.get(task.name)
        if known is None or "<locals>" in _place(known) + _place(task):
            return  # functions made by functions come and go
        if _place(known) != _place(task):
            raise ConfigurationError(
                f"there are two tasks {task.name}: {_place(known)} and {_place(task)}",
                hint="rename one of them, or give it another short_name",
                task=task.name,
            )

    def add_dependency(self, *environments: "TaskEnvironment") -> None:
        """Declare that tasks of these environments are called from here."""
        self.depends_on += [env for env in environments if env not in self.depends_on]

    def clone_with(self, name: str, **options: Any) -> "TaskEnvironment":
        """Return a new environment with some options changed, the same hook, and no tasks yet."""
        kept = self._options | {"depends_on": self.depends_on, "description": self.description}
        clone = TaskEnvironment(name, **(kept | options))
        clone.hook = self.hook
        return clone

    def __repr__(self) -> str:
        return f"<TaskEnvironment {self.name}>"

    def __getstate__(self) -> dict[str, Any]:
        # A task sent by value takes its environment along, but not all its siblings.
        return self.__dict__ | {"tasks": {}, "depends_on": []}


def _place(task: Task[..., Any]) -> str:
    function = task.function
    return f"{canonical(function.__module__)}.{getattr(function, '__qualname__', task.name)}"
