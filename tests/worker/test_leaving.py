"""When an async worker may abandon a coroutine: only if nothing but its calls makes it go on."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from perdure._api import scope
from perdure._api.future import LoopFuture, TaskFactory
from perdure._worker import leaving

LOCK = threading.Lock()


class Attempt(SimpleNamespace):
    """As much of an attempt as matters."""

    def __init__(self) -> None:
        super().__init__(
            calls={}, steps={}, gates=None, cancelled_for="", underway=set(), runner=None
        )

    def call(self) -> LoopFuture[Any]:
        """Make a call; its future never gets an outcome."""
        id_ = os.urandom(16)
        future: LoopFuture[Any] = LoopFuture(
            self,  # type: ignore[arg-type]
            id_,
            "child",
            asyncio.get_running_loop(),
        )
        self.calls[id_] = future
        return future

    def cancel_call(self, action: bytes) -> None:
        self.calls.pop(action, None)

    __hash__ = object.__hash__
    __eq__ = object.__eq__


Body = Callable[[Attempt], Coroutine[Any, Any, Any]]


def may_be_left(*bodies: Body) -> bool:
    """Run attempts side by side; return whether the first may be left once all wait."""

    async def scenario() -> bool:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(TaskFactory())
        attempts = [Attempt() for _ in bodies]
        for attempt, body in zip(attempts, bodies, strict=True):
            attempt.runner = loop.create_task(entered(attempt, body))
        for _ in range(10):
            await asyncio.sleep(0)
        me = asyncio.current_task()
        others = [each.runner for each in attempts[1:]]
        verdict = leaving.rests(attempts[0], loop, [*others, me])  # type: ignore[arg-type,list-item]
        pending = asyncio.all_tasks() - {me}  # type: ignore[arg-type]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return verdict

    return asyncio.run(scenario())


async def entered(attempt: Attempt, body: Body) -> None:
    scope.enter(attempt)  # type: ignore[arg-type]
    await body(attempt)


# --- what only waits ------------------------------------------------------------------------------


async def one(a: Attempt) -> None:
    await a.call()


async def nested(a: Attempt) -> None:
    await one(a)


async def with_except(a: Attempt) -> None:
    try:
        await a.call()
    except (ValueError, KeyError):
        pass
    except Exception:
        raise


async def in_except(a: Attempt) -> None:
    for _ in range(2):
        try:
            raise KeyError
        except KeyError:
            try:
                await a.call()
            except (ValueError, KeyError) as error:
                raise OSError from error


async def gathered(a: Attempt) -> None:
    await asyncio.gather(a.call(), a.call(), one(a), asyncio.gather(a.call()))


async def task_group(a: Attempt) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(one(a))
        group.create_task(nested(a))


async def inside_task_group(a: Attempt) -> None:
    async with asyncio.TaskGroup() as group:
        await group.create_task(one(a))


async def background(a: Attempt) -> None:
    task = asyncio.create_task(one(a))
    await a.call()
    await task


async def waited(a: Attempt) -> None:
    await asyncio.wait([a.call(), asyncio.ensure_future(one(a))])


async def open_timeout(a: Attempt) -> None:
    async with asyncio.timeout(None):
        await a.call()


def counted() -> Iterator[int]:
    yield 1


async def harmless_generator(a: Attempt) -> None:
    for _ in counted():
        await a.call()


@pytest.mark.parametrize(
    "body",
    [
        one, nested, with_except, in_except, gathered, task_group, inside_task_group, background,
        waited, open_timeout, harmless_generator,
    ],
)  # fmt: skip
def test_what_waits_for_its_calls_only_may_be_left(body: Body) -> None:
    assert may_be_left(body)


# --- what does not --------------------------------------------------------------------------------


async def busy(a: Attempt) -> None:
    a.call()
    while True:
        await asyncio.sleep(0)


async def other_sleep(a: Attempt) -> None:
    a.call()
    await asyncio.sleep(60)


async def heartbeat(a: Attempt) -> None:
    async def beat() -> None:
        while True:
            await asyncio.sleep(60)

    task = asyncio.create_task(beat())
    await a.call()
    task.cancel()


async def timeout(a: Attempt) -> None:
    async with asyncio.timeout(60):
        await a.call()


async def wait_for(a: Attempt) -> None:
    await asyncio.wait_for(a.call(), 60)


async def timed_wait(a: Attempt) -> None:
    await asyncio.wait([a.call()], timeout=60)


async def event(a: Attempt) -> None:
    a.call()
    await asyncio.Event().wait()


async def with_finally(a: Attempt) -> None:
    try:
        await a.call()
    finally:
        a.done = True


async def with_except_inside_finally(a: Attempt) -> None:
    try:
        await with_except(a)
    finally:
        a.done = True


async def try_inside_finally(a: Attempt) -> None:
    try:
        try:
            await a.call()
        except ValueError:
            a.done = False
    finally:
        a.done = True


async def with_lock(a: Attempt) -> None:
    async with asyncio.Lock():
        await a.call()


async def with_thread_lock(a: Attempt) -> None:
    with LOCK:
        await a.call()


@contextmanager
def managed() -> Iterator[None]:
    yield


async def with_context_manager(a: Attempt) -> None:
    with managed():
        await one(a)


def locked() -> Iterator[int]:
    with LOCK:
        yield 1


async def generator_with_lock(a: Attempt) -> None:
    for _ in locked():
        await a.call()


async def cleaning(a: Attempt) -> AsyncIterator[int]:
    try:
        yield 1
    finally:
        a.done = True


async def generator_that_cleans_up(a: Attempt) -> None:
    async for _ in cleaning(a):
        await a.call()


async def in_a_thread(a: Attempt) -> None:
    done = threading.Event()
    a.call()
    try:
        await asyncio.to_thread(done.wait, 60)
    finally:
        done.set()


async def outcome_has_arrived(a: Attempt) -> None:
    future = a.call()
    await a.call()
    await future


@pytest.mark.parametrize(
    "body",
    [
        busy, other_sleep, heartbeat, timeout, wait_for, timed_wait, event, with_finally,
        with_except_inside_finally, try_inside_finally, with_lock,
        with_thread_lock, with_context_manager, generator_with_lock, generator_that_cleans_up,
        in_a_thread,
    ],
)  # fmt: skip
def test_what_does_or_holds_anything_else_may_not(body: Body) -> None:
    assert not may_be_left(body)


async def in_a_step(a: Attempt) -> None:
    a.underway.add(SimpleNamespace(scope=a))
    await a.call()


async def recording_a_step(a: Attempt) -> None:
    a.steps[b"step"] = None
    await a.call()


async def being_cancelled(a: Attempt) -> None:
    a.cancelled_for = "cancelled"
    await a.call()


@pytest.mark.parametrize("body", [in_a_step, recording_a_step, being_cancelled])
def test_what_is_in_a_step_or_is_being_stopped_may_not_be_left(body: Body) -> None:
    assert not may_be_left(body)


def test_what_just_got_an_outcome_may_not_be_left() -> None:
    async def settled(a: Attempt) -> None:
        future = a.call()
        asyncio.get_running_loop().call_soon(future.settle, None, None)
        await future
        await asyncio.sleep(60)

    assert not may_be_left(settled)


def test_it_does_not_matter_what_others_in_the_worker_wait_for() -> None:
    assert may_be_left(one, one, with_lock, other_sleep)


# --- the process ----------------------------------------------------------------------------------


@pytest.fixture
def company() -> leaving.Company:
    return leaving.Company()


def test_a_thread_that_user_code_has_started_counts(company: leaving.Company) -> None:
    assert company.is_gone()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert not company.is_gone()
    finally:
        stop.set()
        thread.join()
    assert company.is_gone()


def test_an_idle_thread_of_an_executor_does_not(company: leaving.Company) -> None:
    with ThreadPoolExecutor(1) as executor:
        begun, stop = threading.Event(), threading.Event()
        work = executor.submit(lambda: begun.set() or stop.wait())  # type: ignore[func-returns-value]
        begun.wait()
        assert not company.is_gone()
        stop.set()
        work.result()
        while not company.is_gone():  # it is on its way back to its queue
            threading.Event().wait(0.001)


def test_a_process_that_user_code_has_started_counts(company: leaving.Company) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not company.is_gone()
        if sys.platform == "linux":  # elsewhere nobody tells one from the other
            assert leaving.Company().is_gone(), "one that was there from the beginning"
        process.communicate(b"\n")
    assert company.is_gone()


def test_a_worker_that_has_abandoned_many_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "_abandoned", [])
    monkeypatch.setattr(leaving, "MOST_ABANDONED", 3)
    monkeypatch.setattr(leaving, "MOST_ABANDONED_MEMORY", 1 << 40)
    with suppress(ValueError):
        assert [leaving.abandon(Attempt()) for _ in range(3)] == [False, False, True]  # type: ignore[arg-type]
