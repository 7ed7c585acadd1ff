"""Blocking callables that can also be awaited: ``f(...)`` and ``await f.aio(...)``.

The awaitable form runs the blocking one on a daemon thread of its own. A pool would be cheaper, but
its threads are joined when the event loop closes: an abandoned wait for a long run would hang
the program that gave up on it.
"""

import asyncio
import functools
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Concatenate, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class Twofold(Generic[P, R]):
    """A blocking function with an awaitable form, ``.aio``."""

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do it and wait for it."""
        return self._function(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the same without blocking the event loop."""
        return await on_thread(functools.partial(self._function, *args, **kwargs))

    def __repr__(self) -> str:
        return f"<{getattr(self, '__qualname__', 'function')}(...), also .aio(...)>"


class twofold(Generic[S, P, R]):  # noqa: N801  # used as a decorator, like property
    """Make a method blocking by default and awaitable as ``.aio``."""

    def __init__(self, method: Callable[Concatenate[S, P], R]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]  # carries the docstring

    @overload
    def __get__(self, instance: None, owner: type) -> "twofold[S, P, R]": ...
    @overload
    def __get__(self, instance: S, owner: type) -> Twofold[P, R]: ...
    def __get__(self, instance: S | None, owner: type) -> "twofold[S, P, R] | Twofold[P, R]":
        if instance is None:
            return self
        return Twofold(self._method.__get__(instance, owner))


async def on_thread(call: Callable[[], R]) -> R:
    """Await ``call`` on a daemon thread; a cancelled await abandons it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()
    context = copy_context()

    def settle(result: R | None, error: BaseException | None) -> None:
        if future.done():
            return  # cancelled meanwhile
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # a result when there is no error
        else:
            future.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(call)
        except BaseException as caught:  # handed over, not handled
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="perdure-aio", daemon=True).start()
    return await future
