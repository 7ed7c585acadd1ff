"""The composition root: configuration -> adapters -> a controller in a thread of this process."""

import asyncio
import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from uvloop import new_event_loop

from perdure._controller import presence
from perdure._core.model import Phase
from perdure._core.records import RunRow
from perdure._engines.cells import Division
from perdure._engines.local import LocalEngine
from perdure._engines.machine import capacity_of_this_machine
from perdure._journal.rows import error_line
from perdure._pending import call
from perdure._wire.asking import ask
from perdure._wire.requests import Abort
from perdure.config import Config
from perdure.errors import RunNotFoundError

if TYPE_CHECKING:
    from perdure._controller.controller import Controller
    from perdure._environments.store import Environment
    from perdure._openlineage.emitter import Emitter
    from perdure._views.sqlite import SqliteViews

Result = TypeVar("Result")

MANY_RUNS = 20
"""Names of runs that people are told at once."""

POLL_SECONDS = 0.1
"""How often a run that another process drives is looked at."""

_runtime: "Runtime | None" = None
_lock = threading.Lock()


def runtime(config: Config | None = None) -> "Runtime":
    """Return the embedded runtime of this process, started on first use.

    Args:
        config: Settings, for the first use only.
    """
    global _runtime
    with _lock:
        if _runtime is not None and _runtime.pid != os.getpid():
            _runtime = None  # a forked child does not own its parent's runs
        if _runtime is not None and not _runtime.journal.is_in_place():
            _runtime.shutdown()  # its home is gone: what it would record, nobody would find
        if _runtime is None:
            _runtime = Runtime(config or Config())
            atexit.register(_runtime.at_exit)
        return _runtime


def running() -> "Runtime | None":
    """Return the embedded runtime of this process if it has been started."""
    return _runtime if _runtime is not None and _runtime.pid == os.getpid() else None


class Runtime:
    """A controller with local workers, inside this process.

    Args:
        config: Settings.

    Raises:
        StorageError: The home folder or the journal cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.pid = os.getpid()
        engine = LocalEngine(config.logs, self._environment, Division() if config.cgroups else None)
        engine.prelaunch()  # it boots while the rest is imported and opened
        with contextlib.ExitStack() as undo:
            undo.callback(engine.abandon)
            self.controller = self._assemble(config, engine, undo)
            self._emitter = self._make_emitter(config)
            undo.pop_all()
        self._closed = False
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._work, name="perdure-controller", daemon=True)
        self._thread.start()
        try:
            self._run(self.controller.start())
        except BaseException:
            self._end()
            self.controller.presence.close()
            raise

    def _assemble(
        self, config: Config, engine: LocalEngine, undo: contextlib.ExitStack
    ) -> "Controller":
        from perdure._blobs.opening import open_blobs
        from perdure._controller.controller import Controller
        from perdure._journal.sqlite import SqliteJournal
        from perdure._serde.stored import StoredValues

        self.journal = SqliteJournal(config.journal, config.durability)
        undo.callback(self.journal.close)
        sync = config.durability == "full"
        self.blobs = open_blobs(config.blobs, config.storage, sync=sync)
        echo = _echo if config.echo else None
        capacity = capacity_of_this_machine(config.home, config.cpus, config.resources)
        values = StoredValues(self.blobs)
        controller = Controller(config, self.journal, values, engine, capacity, _warn, echo)
        undo.callback(controller.presence.close)
        return controller

    def _environment(
        self, recipe: bytes, tell: Callable[[str], None], stop: threading.Event
    ) -> "Environment":
        """Return the environment of an image, which may have to be built first."""
        from perdure._environments.recipe import decode_recipe
        from perdure._environments.store import Environments

        return Environments(self.config.environments).have(
            decode_recipe(self.blobs.get(recipe)), tell, stop
        )

    def _make_emitter(self, config: Config) -> "Emitter | None":
        from perdure._openlineage.setting import is_wanted

        if not is_wanted(config.openlineage):
            return None
        from perdure._openlineage.emitter import Emitter

        return Emitter(config.openlineage, config.journal, self.blobs, _warn)

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return call(self._loop, work)

    @cached_property
    def views(self) -> "SqliteViews":
        """The read side of the journal."""
        from perdure._views.sqlite import SqliteViews

        return SqliteViews(self.config.journal)

    def ask(self, function: Callable[..., Result], *args: Any) -> Result:
        """Return what a function of the journal returns."""
        return self._run(self._ask(function, *args))

    async def _ask(self, function: Callable[..., Result], *args: Any) -> Result:
        return await self.controller.ask(function, *args)

    # --- runs -------------------------------------------------------------------------------------

    def submit(self, row: RunRow) -> None:
        """Create a run and drive it.

        Raises:
            RunConflictError: The name exists.
        """
        self._run(self.controller.submit(row))
        if self._emitter is not None:
            self._emitter.follow(row.name, None)

    def drive(
        self, name: str, *, retry_failed: bool = False, strict: bool = False, mixed: bool = False
    ) -> None:
        """Take over an existing run that nobody drives.

        Args:
            name: Its name.
            retry_failed: Also if it has failed or was aborted: what failed is tried again.
            strict: Fail the run if its replay diverges from what is recorded.
            mixed: Its code has changed since it recorded what it has.

        Raises:
            RunNotFoundError: There is none of that name.
            RunInUseError: Another live process drives it.
        """
        row = self.load(name)
        if row.phase.final and not (retry_failed and row.phase is not Phase.SUCCEEDED):
            return
        self._run(self.controller.drive(name, strict=strict, mixed=mixed))
        if self._emitter is not None:
            self._emitter.follow(name, row.phase)

    def load(self, name: str) -> RunRow:
        """Return the run as the journal has it.

        Raises:
            RunNotFoundError: There is none of that name.
        """
        row = self._run(self._load(name))
        if row is None:
            raise RunNotFoundError(
                f"there is no run {name!r} in {self.config.home}",
                hint="perdure ls shows the runs there are",
            )
        return row

    async def _load(self, name: str) -> RunRow | None:
        return await self.controller.ask(self.journal.load_run, name)

    def wait(self, name: str, timeout: float | None = None) -> RunRow | None:
        """Wait until the run has ended or was interrupted; return it, or None after ``timeout``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            end = self.controller.ends.of(name)
            if end is not None:
                left = None if deadline is None else deadline - time.monotonic()
                return end.result() if end.wait(left) else None
            row = self.load(name)
            if row.phase.final:
                return row
            if not (row.owner and presence.is_alive(self.config.controllers, row.owner)):
                row.phase = Phase.INTERRUPTED
                return row
            if deadline is not None and time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)

    def abort(self, name: str, action: bytes | None = None) -> None:
        """Stop a run or one action of it, also when another process drives it.

        A run that nobody drives is taken over for the purpose.
        """
        if self.controller.ends.is_awaited(name):
            self._run(self._abort(name, action))
            return
        row = self.load(name)
        if row.phase.final:
            return
        peer = presence.contact(self.config.controllers, row.owner) if row.owner else None
        if peer is not None:
            ask(peer.address, peer.token, Abort(name, action))
        else:
            self.drive(name)
            self._run(self._abort(name, action))

    async def _abort(self, name: str, action: bytes | None) -> None:
        self.controller.abort(name, action)

    # --- the end ----------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Stop cleanly: runs in progress become resumable."""
        if self._closed or self.pid != os.getpid():
            return
        self._closed = True
        self._run(self.controller.stop())
        self._end()
        global _runtime
        if _runtime is self:
            _runtime = None

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if self._emitter is not None:
            self._emitter.close()
        self.journal.close()
        if "views" in self.__dict__:  # they were looked at
            self.views.close()

    def at_exit(self) -> None:
        """Finish what was started, unless the program ends because of an error or a Ctrl-C."""
        if self._closed or self.pid != os.getpid():
            return
        unfinished = self.controller.ends.unfinished()
        if unfinished and getattr(sys, "last_type", None) is None:
            _warn(f"waiting for {_listed(unfinished)} (Ctrl-C leaves it resumable)")
            with contextlib.suppress(KeyboardInterrupt, Exception):
                tell_of_failures(self._failures(unfinished))  # nobody else will
        left = self.controller.ends.unfinished()
        self.shutdown()
        for name in left[:MANY_RUNS]:
            _warn(f"run {name} was interrupted; go on with: perdure resume {name}")
        if len(left) > MANY_RUNS:
            _warn(f"and so were {len(left) - MANY_RUNS} more: perdure ls --phase interrupted")

    def _failures(self, names: list[str]) -> Iterator[tuple[str, str]]:
        """Wait for runs to end; yield those that fail, and what they failed with."""
        for name in names:
            row = self.wait(name)
            if row is not None and row.outcome is not None and row.outcome.failure is not None:
                yield name, error_line(row.outcome.failure)


def tell_of_failures(failed: Iterable[tuple[str, str]]) -> None:
    """Tell people of runs that have failed, by name and error line."""
    count = 0
    for count, (name, line) in enumerate(failed, 1):
        if count <= MANY_RUNS:
            _warn(f"run {name} failed: {line}; look closer: perdure show {name}")
    if count > MANY_RUNS:
        _warn(f"and so did {count - MANY_RUNS} more: perdure ls --phase failed")


def _listed(names: list[str]) -> str:
    more = len(names) - MANY_RUNS
    return ", ".join(names[:MANY_RUNS]) + (f" and {more} more" if more > 0 else "")


def _echo(text: str) -> None:
    with contextlib.suppress(ValueError, OSError):  # stdout was closed
        sys.stdout.write(text)
        sys.stdout.flush()


def _warn(text: str) -> None:
    print(f"perdure: {text}", file=sys.stderr, flush=True)
