"""The state of a worker: what its start-up hook makes, and the tasks of the environment share."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any


class State(SimpleNamespace):
    """What a start-up hook has put into ``perdure.ctx().state``, by name.

    ``state.model`` and ``state["model"]`` are the same.
    """

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __contains__(self, name: str) -> bool:
        return name in vars(self)


_filled: ContextVar[State | None] = ContextVar("perdure_state", default=None)


def state_being_filled() -> State | None:
    """Return what the hook that is running here fills; None outside hooks."""
    return _filled.get()


def made_by(hook: Callable[[], Any]) -> Any:
    """Call a start-up hook; return what it returns, or if that is None, what it has filled."""
    with _filling() as state:
        result = hook()
        made = asyncio.run(result) if inspect.iscoroutine(result) else result
    return state if made is None else made


async def made_on_loop_by(hook: Callable[[], Any]) -> Any:
    """Do the same on a running event loop: what an ``async def`` hook makes belongs to it."""
    with _filling() as state:
        result = hook()
        made = await result if inspect.isawaitable(result) else result
    return state if made is None else made


@contextmanager
def _filling() -> Iterator[State]:
    state = State()
    token = _filled.set(state)
    try:
        yield state
    finally:
        _filled.reset(token)
