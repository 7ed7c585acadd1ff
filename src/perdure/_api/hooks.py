"""Functions that environments want called when a worker starts."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from perdure._api.task import Task
from perdure._modules import canonical
from perdure.errors import ConfigurationError

Hook = Callable[[], Any]
AnyHook = TypeVar("AnyHook", bound=Hook)


def check_hook(hook: object, environment: str, known: Hook | None) -> None:
    """Refuse what cannot be the start-up hook of an environment.

    Raises:
        ConfigurationError: It is no function, takes arguments, or there is another one.
    """
    where = f"@{environment}.on_start"
    if isinstance(hook, Task) or not callable(hook):
        raise ConfigurationError(
            f"{where} takes a plain function, not {hook!r}",
            hint="write @env.on_start above a def or async def without arguments",
        )
    if inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook):
        raise ConfigurationError(f"{where}: {_place(hook)} is a generator", hint="return the state")
    parameters = inspect.signature(hook).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in _OPTIONAL]
    if needed:
        raise ConfigurationError(
            f"{where}: {_place(hook)} is called without {needed[0]}",
            hint="let it return what tasks find in perdure.ctx().state, or put it there",
        )
    if known is not None and _place(known) != _place(hook):  # a cell of a notebook is run again
        raise ConfigurationError(
            f"{where}: there are two, {_place(known)} and {_place(hook)}",
            hint="call one from the other",
        )


def no_state() -> ConfigurationError:
    """Return the error for asking for a state that nobody has made."""
    return ConfigurationError(
        "there is no ctx().state: nothing was started up for this environment",
        hint="make it in a function that is decorated with @env.on_start",
    )


_OPTIONAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _place(hook: Hook) -> str:
    return f"{canonical(hook.__module__)}.{getattr(hook, '__qualname__', hook)}"
