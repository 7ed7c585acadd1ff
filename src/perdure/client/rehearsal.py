"""One action of a recorded run, executed again in this process, for a debugger.

Calls it makes are answered from the record. What is not recorded there (the action failed before it
got so far, or does something else this time) is executed here and now, in the same way, children
of children included. Nothing is recorded, and durable sleeps do not sleep.
"""

import asyncio
import inspect
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

import msgspec

from perdure import _serde
from perdure._api import scope as scopes
from perdure._api.future import Future, ThreadFuture, make_future, on_loop
from perdure._api.occurrence import Occurrences
from perdure._api.task import Task
from perdure._core.artifacts import Request
from perdure._core.ids import action_id
from perdure._core.model import Bundle, Failure, RunOptions, TaskSpec
from perdure._core.records import RunRow
from perdure._engines.stations import own_paths
from perdure._serde import Encoded
from perdure._version.environment import is_an_images
from perdure._worker import recorded
from perdure._worker.loader import load_task
from perdure.client import link, moving, startups
from perdure.client.rerunning import recorded_bundle
from perdure.errors import ConfigurationError, NotSupportedError, TaskLoadError

if TYPE_CHECKING:
    from perdure._api.report import Report
    from perdure._ports import Blobs
    from perdure._views.model import ActionDetail

_FUTURE = re.compile(rb"\xd8\x02(.{16})", re.DOTALL)  # in msgpack: 16 bytes of extension type 2
Values = dict[bytes, bytes]


class Rehearsal:
    """An action about to be executed again; implements :class:`perdure._api.scope.Scope`.

    Attributes:
        function: The plain function of its task.
        is_async: Whether that is ``async def``.
        arguments: What to call it with.
    """

    number = 0
    replay = True
    report: "Report | None" = None
    sync = False
    devices: tuple[str, ...] = ()

    def __init__(
        self, row: RunRow, bundle: Bundle, task: Task[..., Any], action: bytes, inputs: bytes,
        values: Values, depth: int = 0,
    ) -> None:  # fmt: skip
        self.run, self.action, self.task, self.depth = row.name, action, task.name, depth
        self.function, self.is_async = task.function, task.is_async
        self._row, self._bundle = row, bundle
        self._values = values
        self._calls: dict[bytes, Future[Any]] = {}
        self.underway: set[Any] = set()
        self._occurrences = Occurrences()
        self._draws = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._hook = task.env.hook
        startups.adopt_variables(task)
        startups.adopt_secrets(task, bundle)
        binder = task.binder()
        given = _serde.loads(inputs, self.blobs, values)
        self.arguments = binder.arguments(given)

    @property
    def code(self) -> CodeType:
        """The body of the function, wrappers aside."""
        inner: Any = inspect.unwrap(self.function)
        return inner.__code__  # type: ignore[no-any-return]  # functions have one

    def execute(self) -> Any:
        """Execute the function to its end and return what it returned."""
        if not self.is_async:
            startups.start_up(self._hook)
        scopes.set_process_wide(self)
        try:
            return copy_context().run(self._call)
        finally:
            scopes.set_process_wide(None)
            self._clean_up()

    def _call(self) -> Any:
        scopes.enter(self)
        if self.is_async:
            return asyncio.run(self._on_loop())
        positional, keyword = self.arguments
        return self.function(*positional, **keyword)

    async def _on_loop(self) -> Any:
        await startups.start_up_on_loop(self._hook)
        positional, keyword = self.arguments
        return await self.function(*positional, **keyword)

    def _clean_up(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    # --- the Scope --------------------------------------------------------------------------------

    @property
    def blobs(self) -> "Blobs":
        """Where large values live."""
        return link.blobs()

    @property
    def home(self) -> Path:
        """A folder of its own: checkpoints and reports of the run stay as they are."""
        return self.scratch()

    @property
    def run_created(self) -> float:
        """When the run was asked for, in wall-clock seconds."""
        return self._row.created

    @property
    def state(self) -> Any:
        """What the start-up hook has made here."""
        return startups.state_of(self._hook)

    @property
    def custom_context(self) -> Mapping[str, Any]:
        """What the run was given as custom context."""
        if not self._row.context:
            return {}
        return _serde.loads(self._row.context, self.blobs)  # type: ignore[no-any-return]

    def next_id(self, name: str, inputs: bytes) -> bytes:
        """Take the id of the next call of ``name`` with these inputs (their digest)."""
        return action_id(self.action, name, inputs, self._occurrences.take(name, inputs))

    def call(self, spec: TaskSpec, inputs: Encoded, marks: object = None) -> Future[Any]:
        """Answer a call from the record, or execute it; the cache is left alone."""
        action = self.next_id(spec.name, inputs.digest)
        future: Future[Any] = make_future(self, action, spec.name)
        self._calls[action] = future
        if self._settle_from_record(future):
            return future
        if on_loop():
            work = asyncio.get_running_loop().create_task(self._later(future, spec, inputs))
            future.add_done_callback(lambda _: work.cancel())
            return future
        outcome: Encoded | Failure
        try:
            for need in inputs.needs:
                self._calls[need].result()
            outcome = self._child(spec, inputs, action).execute_inside()
        except Exception as error:  # the child's own, whatever it is
            outcome = _serde.dump_error(error, self.blobs, retryable=False)
        self._settle(future, outcome)
        return future

    def room(self, action: bytes) -> None:
        """Nothing is held back."""

    def execute_inside(self) -> Encoded:
        """Execute it as a child of another, and return the value as a child's value comes."""
        if not self.is_async:
            startups.start_up(self._hook)
        try:
            return _serde.dumps(copy_context().run(self._call), self.blobs)
        finally:
            self._clean_up()

    async def execute_on_loop(self) -> Encoded:
        """Do the same on a running event loop; in a context of its own, as asyncio tasks have."""
        scopes.enter(self)
        if not self.is_async:
            return self.execute_inside()
        try:
            return _serde.dumps(await self._on_loop(), self.blobs)
        finally:
            self._clean_up()

    async def _later(self, future: Future[Any], spec: TaskSpec, inputs: Encoded) -> None:
        """Execute a call on the event loop, once the futures in its inputs have their values."""
        outcome: Encoded | Failure
        try:
            for need in inputs.needs:
                await self._calls[need]
            outcome = await self._child(spec, inputs, future.action_id).execute_on_loop()
        except Exception as error:  # the child's own, whatever it is
            outcome = _serde.dump_error(error, self.blobs, retryable=False)
        self._settle(future, outcome)

    def _child(self, spec: TaskSpec, inputs: Encoded, action: bytes) -> "Rehearsal":
        task = load_task(spec.loader, self._bundle)
        moving.check(task)
        return Rehearsal(
            self._row, self._bundle, task, action, inputs.data, self._values, self.depth + 1
        )

    def _settle(self, future: Future[Any], outcome: Encoded | Failure) -> None:
        if isinstance(outcome, Encoded):
            self._values[future.action_id] = outcome.data
            future.settle(outcome.data, None)
        else:
            future.settle(None, outcome)

    def _settle_from_record(self, future: Future[Any]) -> bool:
        found = link.views().action(self._row.key, future.action_id.hex())
        outcome = None if found is None else found.outcome
        if outcome is None:
            return False
        if outcome.value is not None:
            self._values[future.action_id] = outcome.value
        future.settle(outcome.value, outcome.failure)
        return True

    def sleep(self, action: bytes, seconds: float) -> Future[None]:
        """Do not sleep."""
        future: Future[None] = make_future(self, action, "durable.sleep")
        future.settle(_serde.dumps(None, self.blobs).data, None)
        return future

    def condition(
        self, action: bytes, name: str, inputs: Encoded, timeout: float | None
    ) -> Future[Any]:
        """Answer with what is recorded; nobody is asked again."""
        future: Future[Any] = make_future(self, action, name)
        self._settle_or_refuse(future)
        return future

    def lookup(self, action: bytes, name: str, *, blocking: bool = False) -> Future[Any]:
        """Answer with a step's recorded outcome."""
        future = _step(self, action, name, blocking)
        if not self._settle_from_record(future):
            future.settle(None, None)
        return future

    def record(
        self,
        action: bytes,
        name: str,
        inputs: Encoded,
        outcome: Encoded | Failure,
        started: float,
        ended: float,
        *,
        blocking: bool = False,
    ) -> Future[Any]:
        """Take a step's outcome, and record nothing."""
        future = _step(self, action, name, blocking)
        self._settle(future, outcome)
        return future

    def errand(
        self, action: bytes, name: str, inputs: Encoded, request: Request, *, blocking: bool = False
    ) -> Future[Any]:
        """Answer with what is recorded of a step that only a controller can do."""
        future = _step(self, action, name, blocking)
        self._settle_or_refuse(future)
        return future

    def _settle_or_refuse(self, future: Future[Any]) -> None:
        if not self._settle_from_record(future):
            error = NotSupportedError(
                f"{future.task} is not recorded, and cannot be done in the debugger",
                hint="step over it, or skip it: jump LINE",
            )
            self._settle(future, _serde.dump_error(error, self.blobs, retryable=False))

    def cancel_call(self, action: bytes) -> None:
        """Nothing goes on elsewhere."""

    def looked_at(self, action: bytes) -> None:
        """Nobody is told what was left."""

    def waiting(
        self, done: Callable[[], bool], action: bytes = b"", *, timed: bool = False
    ) -> AbstractContextManager[None]:
        """Nothing is to be given back meanwhile."""
        return nullcontext()

    def scratch(self) -> Path:
        """Return a folder for temporary files, removed at the end."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="perdure-")
        return Path(self._folder.name)

    def draw(self) -> int:
        """Return 0, 1, 2, ..."""
        self._draws += 1
        return self._draws - 1


def rehearse(row: RunRow, found: "ActionDetail", tell: Callable[[str], None]) -> Rehearsal:
    """Make this process what the run's workers were; return the action to execute again.

    If its image has an environment of its own, this process becomes another one, in that.

    Args:
        row: The run.
        found: The action.
        tell: Is told in words when an environment has to be built first.

    Raises:
        ConfigurationError: The action is no call of a task.
        TaskLoadError: Its task cannot be loaded.
    """
    brief = found.summary
    if brief.kind != "task":
        raise ConfigurationError(
            f"action #{brief.seq} is no task but a step ({brief.kind}) of the action that made it",
            hint=f"perdure debug {row.name} {brief.parent}",
            run=row.name,
        )
    bundle = recorded_bundle(row)
    _become_worker(row, bundle)
    recorded.install(bundle, link.blobs())
    task = _task_named(brief.task, row, bundle)
    moving.move(task, ("debug", row.name, brief.id), tell)
    values = {}
    for match in _FUTURE.finditer(found.inputs):
        needed = link.views().action(row.key, match[1].hex())
        if needed is not None and needed.outcome is not None and needed.outcome.value is not None:
            values[match[1]] = needed.outcome.value
    return Rehearsal(row, bundle, task, bytes.fromhex(brief.id), found.inputs, values)


def _become_worker(row: RunRow, bundle: Bundle) -> None:
    if bundle.cwd and Path(bundle.cwd).is_dir():
        os.chdir(bundle.cwd)
    sys.argv[:] = bundle.argv or sys.argv
    paths = own_paths(bundle.sys_path) if is_an_images() else bundle.sys_path
    sys.path[:] = dict.fromkeys((*paths, *sys.path))
    if row.options:
        os.environ.update(msgspec.msgpack.decode(row.options, type=RunOptions).env_vars)


def _task_named(name: str, row: RunRow, bundle: Bundle) -> Task[..., Any]:
    """Return a task of the run's code; only of the root task the run itself knows the place."""
    from perdure._bundle import is_project_module
    from perdure._version.code import code_version

    root = load_task(row.spec.loader, bundle)
    if root.name == name:
        return root
    code_version(root)  # imports what functions that it reaches import
    modules = [m.__dict__ for m in list(sys.modules.values()) if is_project_module(m)]
    for namespace in (root.function.__globals__, *modules):
        for value in list(namespace.values()):
            if isinstance(value, Task) and value.name == name:
                return value
            tasks = getattr(value, "tasks", None) if type(value).__name__ == _ENVIRONMENT else None
            if tasks and name in tasks:
                return tasks[name]  # type: ignore[no-any-return]  # of an environment
    raise TaskLoadError(
        f"the code of run {row.name!r} has no task {name} that could be found",
        hint="tasks at the top level of a module are found; debug the action that called it",
        run=row.name,
    )


_ENVIRONMENT = "TaskEnvironment"


def _step(scope: Rehearsal, action: bytes, name: str, blocking: bool) -> Future[Any]:
    return ThreadFuture(scope, action, name) if blocking else make_future(scope, action, name)
