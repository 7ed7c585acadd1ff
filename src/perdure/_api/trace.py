"""``@perdure.trace``: a function whose calls inside a run are journaled steps."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, nullcontext
from typing import Any, TypeVar

from perdure._api.scope import current
from perdure._api.steps import (
    Step,
    committed,
    run_step,
    run_step_aio,
    settled,
    settled_aio,
)
from perdure._modules import canonical
from perdure.errors import ConfigurationError, TypeCheckError

F = TypeVar("F", bound=Callable[..., Any])


def trace(function: F) -> F:
    """Journal the calls of a function: on a replay the recorded outcome is returned instead.

    The function runs in the caller's process. Outside any run it is called as it is. The items of a
    generator are recorded when it is exhausted; one that is left early starts again on a replay.

    Args:
        function: A sync or async function, method, generator function, or a partial of one.

    Example::

        @perdure.trace
        async def ask(prompt: str) -> str: ...
    """
    if not callable(function):
        raise ConfigurationError(f"{function!r} is not a function")
    traced = _Traced(function)
    inner = traced.function
    if inspect.isasyncgenfunction(inner):
        wrapper: Any = _async_generator(traced)
    elif inspect.iscoroutinefunction(inner):
        wrapper = _coroutine(traced)
    elif inspect.isgeneratorfunction(inner):
        wrapper = _generator(traced)
    else:
        wrapper = _plain(traced)
    return functools.wraps(inner)(wrapper)  # type: ignore[return-value]  # called like function


class _Traced:
    """A traced function: its name, and its calls as inputs. Partials are taken apart for that."""

    def __init__(self, function: Any) -> None:
        self._args: tuple[Any, ...] = ()
        self._kwargs: dict[str, Any] = {}
        if isinstance(function, functools.partial):
            function, self._args, self._kwargs = function.func, function.args, function.keywords
        self.function = function
        self.name = f"{canonical(function.__module__)}.{function.__qualname__}"
        self._signature = inspect.signature(function)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
        return functools.partial(self.function, *self._args, *args, **(self._kwargs | kwargs))

    def step(self, call: Callable[[], Any], *, blocking: bool = False) -> Step | None:
        """Return the step that ``call`` is, or None outside any run."""
        scope = current()
        if scope is None:
            return None
        assert isinstance(call, functools.partial)
        try:
            bound = self._signature.bind(*call.args, **call.keywords)
        except TypeError as error:
            raise TypeCheckError(
                f"{self.name}: {error}", hint=f"its signature is {self._signature}"
            ) from None
        bound.apply_defaults()
        return Step(scope, self.name, dict(bound.arguments), blocking=blocking)


def _plain(traced: _Traced) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = traced.call(args, kwargs)
        step = traced.step(call, blocking=True)
        return call() if step is None else run_step(step, call)

    return wrapper


def _coroutine(traced: _Traced) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = traced.call(args, kwargs)
        step = traced.step(call)
        return await (call() if step is None else run_step_aio(step, call))

    return wrapper


def _generator(traced: _Traced) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Iterator[Any]:
        call = traced.call(args, kwargs)
        step = traced.step(call, blocking=True)
        if step is None:
            yield from call()
            return
        found = step.lookup()
        if found is not None and settled(found):
            yield from found.result()
            return
        items: list[Any] = []
        try:
            with step:
                for item in call():
                    items.append(item)
                    yield item
        except Exception as error:
            step.failed(error).exception()
            raise
        step.succeeded(items).exception()

    return wrapper


def _async_generator(traced: _Traced) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        call = traced.call(args, kwargs)
        step = traced.step(call)
        found = None if step is None else step.lookup()
        if found is not None and await settled_aio(found):
            for item in found.result():
                yield item
            return
        items: list[Any] = []
        try:
            with nullcontext() if step is None else step:
                async with aclosing(call()) as source:
                    async for item in source:
                        if step is not None:
                            items.append(item)
                        yield item
        except Exception as error:
            if step is not None:
                await committed(step.failed(error))
            raise
        if step is not None:
            await committed(step.succeeded(items))

    return wrapper
