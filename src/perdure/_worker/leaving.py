"""Leaving an attempt that only waits: can it be done, and how is its code kept from noticing?

The attempt is going to be replayed when its wait ends, so its code is simply not continued: no
exception, no ``finally``. A sync worker dies, as it would of a kill. In an async worker the
coroutine is abandoned where it stands: it stays referenced, because a coroutine that is collected
would be closed, and its ``finally`` clauses run. What the worker cannot be sure of, it keeps:

* a step that is underway, or not recorded yet; threads and processes that user code has started;
* anything that waits for something else than the attempt's own calls: ``asyncio.sleep``, a socket,
  a timeout, a queue, an event;
* a coroutine inside a ``with`` block or a ``try`` with a ``finally``. It may hold a lock that
  others in the process are going to wait for, or a timeout that a replay would start anew. Only of
  ``asyncio.TaskGroup`` and of ``asyncio.timeout(None)`` it is known that they do neither.
"""

import asyncio
import dis
import gc
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import thread as pool
from functools import lru_cache
from pathlib import Path
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import TYPE_CHECKING, Any

from perdure._api import scope
from perdure._api.future import LoopFuture
from perdure._worker.wear import own_memory

if TYPE_CHECKING:
    from perdure._worker.attempt import Attempt

    Suspended = (
        CoroutineType[Any, Any, Any] | GeneratorType[Any, Any, Any] | AsyncGeneratorType[Any, Any]
    )

MOST_ABANDONED = 1000
MOST_ABANDONED_MEMORY = 64 << 20
"""A worker that has abandoned more coroutines, or has grown by more bytes over them, is replaced
once it has nothing left to do."""

_ASYNCIO = str(Path(asyncio.__file__).parent)
_TRUSTED = (_ASYNCIO, str(Path(__file__).parents[1]))
_IDLE = pool._worker.__code__  # noqa: SLF001  # where idle threads wait
_NEXT = "async_generator_asend"
_abandoned: "list[Attempt]" = []
_memory_before = 0


# --- the process ----------------------------------------------------------------------------------


class Company:
    """The threads and processes that are part of the worker itself: those that are there now."""

    def __init__(self) -> None:
        self._threads = {thread.ident for thread in threading.enumerate()}
        self._children = _children() if _has_children() else set()

    def is_gone(self) -> bool:
        """Whether no others are there, but for idle threads of an executor."""
        frames = None
        for thread in threading.enumerate():
            if thread.ident in self._threads or thread.name == "perdure":
                continue
            frames = frames or sys._current_frames()  # noqa: SLF001  # the documented way
            frame = frames.get(thread.ident or 0)
            if frame is None or frame.f_code is not _IDLE:
                return False
        if not _has_children():
            return True
        children = _children()
        return bool(children) and children <= self._children


def _has_children() -> bool:
    if not hasattr(os, "waitid"):
        return True  # perhaps: macOS has it from Python 3.13 on
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _children() -> set[str]:
    """Return the processes that this one has started; none if the system does not tell."""
    try:
        lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    except OSError:
        return set()
    return {child for each in lists for child in each.split()}


# --- coroutines -----------------------------------------------------------------------------------


def abandon(attempt: "Attempt") -> bool:
    """Keep the attempt's coroutine as it is, for ever; return whether that is enough for now."""
    global _memory_before
    if not _abandoned:
        _memory_before = own_memory()
    _abandoned.append(attempt)
    count = len(_abandoned)
    return count == MOST_ABANDONED or own_memory() - _memory_before > MOST_ABANDONED_MEMORY


def rests(
    attempt: "Attempt", loop: asyncio.AbstractEventLoop, others: Iterable["asyncio.Task[Any]"]
) -> bool:
    """Whether nothing but the outcomes of its calls can make the attempt go on.

    Args:
        attempt: An attempt of an async worker.
        loop: The worker's loop.
        others: The tasks of other attempts.
    """
    if attempt.cancelled_for or attempt.steps or attempt.gates or not attempt.calls:
        return False
    if any(step.scope is attempt for step in attempt.underway):
        return False
    not_mine = {*others, *(each.runner for each in _abandoned)}
    mine = [t for t in asyncio.all_tasks(loop) if t not in not_mine and _may_be_of(t, attempt)]
    return attempt.runner in mine and all(_rests(task, attempt) for task in mine)


def _may_be_of(task: "asyncio.Task[Any]", attempt: "Attempt") -> bool:
    """Whether user code of the attempt may have started the task."""
    if sys.version_info >= (3, 12):
        return scope.of(task.get_context()) is attempt
    waiter = task._fut_waiter  # type: ignore[attr-defined]  # noqa: SLF001  # nobody else tells
    return not isinstance(waiter, LoopFuture) or waiter.action_id in attempt.calls


def _rests(awaited: Any, attempt: "Attempt") -> bool:
    if isinstance(awaited, LoopFuture):
        return not awaited.done() and awaited.action_id in attempt.calls
    if isinstance(awaited, asyncio.Task):
        waiter = awaited._fut_waiter  # type: ignore[attr-defined]  # noqa: SLF001  # nobody else tells
        suspended = list(_chain(awaited.get_coro()))
        if waiter is None or any(_holds(each) for each in suspended):
            return False
        among = _members(suspended[-1]) if suspended else None
        return _rest(among, attempt) if among is not None else _rests(waiter, attempt)
    children = getattr(awaited, "_children", None)  # of what asyncio.gather returns
    return children is not None and _rest(children, attempt)


def _rest(futures: Iterable[Any], attempt: "Attempt") -> bool:
    left = [future for future in futures if not future.done()]
    return bool(left) and all(_rests(future, attempt) for future in left)


def _chain(awaiting: Any) -> "Iterator[Suspended]":
    """Yield what is suspended in each other's await, from the outermost inwards."""
    while awaiting is not None:
        if isinstance(awaiting, CoroutineType):
            yield awaiting
            awaiting = awaiting.cr_await
        elif isinstance(awaiting, GeneratorType):
            yield awaiting
            awaiting = awaiting.gi_yieldfrom
        elif isinstance(awaiting, AsyncGeneratorType):
            yield awaiting
            awaiting = awaiting.ag_await
        else:  # the next item of an asynchronous generator, or a future at last
            inner = [r for r in gc.get_referents(awaiting) if isinstance(r, AsyncGeneratorType)]
            awaiting = inner[0] if type(awaiting).__name__ == _NEXT and inner else None


def _members(innermost: "Suspended") -> Iterable[Any] | None:
    """Return what asyncio's own code waits for there, if it says so."""
    frame = _frame(innermost)
    if frame is None or not frame.f_code.co_filename.startswith(_ASYNCIO):
        return None
    local = frame.f_locals
    if isinstance(local.get("self"), asyncio.TaskGroup):
        return local["self"]._tasks  # type: ignore[no-any-return]  # noqa: SLF001  # likewise
    if frame.f_code.co_name == "_wait" and local.get("timeout", 0) is None:
        return local["fs"]  # type: ignore[no-any-return]
    return None


def _holds(suspended: "Suspended") -> bool:
    """Whether it is in the midst of something that others might wait for, or that measures time."""
    frame = _frame(suspended)
    if frame is None or frame.f_lasti < 0:
        return False  # it has ended, or not begun
    trusted = frame.f_code.co_filename.startswith(_TRUSTED)
    if not trusted and _is_in_finally(frame.f_code, frame.f_lasti):
        return True
    return any(_is_held(each) for each in gc.get_referents(suspended))


def _is_held(referent: Any) -> bool:
    """Whether a frame's local variable or intermediate value is a sign of that.

    Inside a ``with`` block the bound ``__exit__`` is among the intermediate values.
    """
    if isinstance(referent, GeneratorType | AsyncGeneratorType):
        return _holds(referent)
    name = getattr(referent, "__name__", "") if callable(referent) else ""
    if name not in ("__exit__", "__aexit__"):
        return False
    manager = getattr(referent, "__self__", None)
    if isinstance(manager, asyncio.Timeout):
        return manager.when() is not None
    return manager is not None and not isinstance(manager, asyncio.TaskGroup)


def _frame(suspended: "Suspended") -> FrameType | None:
    if isinstance(suspended, CoroutineType):
        return suspended.cr_frame
    return suspended.gi_frame if isinstance(suspended, GeneratorType) else suspended.ag_frame


@lru_cache(maxsize=1024)
def _is_in_finally(code: CodeType, at: int) -> bool:
    """Whether an exception raised at the instruction would be met by more than ``except X``."""
    instructions = list(dis.get_instructions(code))
    entries = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]  # since 3.11
    handlers: list[int] = []
    while handler := [e.target for e in entries if e.start <= at < e.end]:
        at = handler[0]  # what it raises itself is met by what is around it
        if at in handlers:
            break
        handlers.append(at)
    return any(
        _cleans_up(instructions[place + 1 :])
        for place, each in enumerate(instructions)
        if each.offset in handlers and each.opname == "PUSH_EXC_INFO"
    )


def _cleans_up(handler: "list[dis.Instruction]") -> bool:
    for each in handler:
        if each.opname in ("CHECK_EXC_MATCH", "CHECK_EG_MATCH", "WITH_EXCEPT_START"):
            return False  # a with block is seen by what it holds
        if each.opname.startswith(("POP_TOP", "STORE_", "RERAISE", "RETURN_", "RAISE_")):
            return True
    return True
