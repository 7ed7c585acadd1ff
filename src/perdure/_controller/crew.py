"""The crew: the workers of a controller, from the order to place one to the news of its end."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from perdure._controller.echo import Echo
from perdure._controller.endings import judge
from perdure._core import failures
from perdure._core.effects import Effects
from perdure._core.ends import WorkerEnd
from perdure._core.model import Bundle
from perdure._core.records import RunRow
from perdure._core.workers import Worker
from perdure._ports import LowMemory, WorkerDelay, WorkerExit, WorkerRequest
from perdure._secrets.sources import Sources
from perdure._wire.messages import SecretValue, Welcome
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from perdure._controller.controller import Controller
    from perdure._controller.session import Session

DRAIN_SECONDS = 0.2
"""How long a dead worker's connection may take to end, if something it started holds it open."""

ECHO_SECONDS = 0.1


class Crew:
    """Connections and processes of workers.

    Args:
        controller: Whose workers they are.
        echo: Shows the user what tasks print; None keeps it in the logs only.
    """

    def __init__(self, controller: "Controller", echo: Callable[[str], None] | None) -> None:
        self._controller = controller
        self._machine = controller.machine
        self._engine = controller.engine
        self._echo = Echo(echo) if echo else None
        self._bundles: list[Bundle] = []
        self._sessions: dict[int, Session] = {}
        self._exits: dict[int, WorkerExit] = {}
        self._sources = Sources(controller.config.home)
        self._secrets: dict[int, tuple[SecretValue, ...]] = {}  # until their workers say Hello
        self._searches: set[asyncio.Task[None]] = set()

    async def start(self, address: str, token: str) -> None:
        """Get the engine ready."""
        await self._engine.start(address, token, self._exited, self._low_memory, self._delayed)
        self._listen()

    async def stop(self) -> None:
        """End all workers."""
        for search in list(self._searches):
            search.cancel()
        await asyncio.gather(*self._searches, return_exceptions=True)
        await self._engine.stop()
        if self._echo:
            self._echo.close()
        for session in list(self._sessions.values()):
            session.close()

    def bundle_number(self, row: RunRow) -> int:
        """Return the number under which workers of a run's code are pooled; that is kept once."""
        if row.bundle not in self._bundles:
            self._bundles.append(row.bundle)
        number = self._bundles.index(row.bundle)
        row.bundle = self._bundles[number]
        return number

    # --- orders -----------------------------------------------------------------------------------

    def carry_out(self, effects: Effects) -> None:
        """Place, tell and kill workers as the core has decided."""
        for worker in effects.spawns:
            self._spawn(worker)
        effects.spawns.clear()
        for number, worker in effects.limits.items():  # before it is told what they are for
            self._engine.limit(number, worker.allowance)
        effects.limits.clear()
        for number, worker in effects.told.items():
            session = self._sessions.get(number)
            if session is not None:  # otherwise its process is about to be reported gone
                session.carry_out(worker.outbox)
            worker.outbox.clear()
        effects.told.clear()
        for worker in effects.kills:
            self._engine.kill(worker.number)
        effects.kills.clear()
        for text in effects.warnings:
            self._controller.warn(text)
        effects.warnings.clear()

    def _spawn(self, worker: Worker) -> None:
        if worker.pool.reuse.secrets:
            task = asyncio.get_running_loop().create_task(self._spawn_with_secrets(worker))
            self._searches.add(task)
            task.add_done_callback(self._searches.discard)
        else:
            self._place(worker)

    async def _spawn_with_secrets(self, worker: Worker) -> None:
        """Look for the values first, which may take a while: a keyring may have to be unlocked."""
        bundle, number = self._bundles[worker.pool.key.bundle], worker.number
        try:
            self._secrets[number] = await asyncio.to_thread(
                self._sources.values, worker.pool.reuse.secrets, bundle
            )
        except PerdureError as error:
            with self._controller.batch():
                end = WorkerEnd(failures.unplaced(error), guilty=True, final=True)
                self._machine.worker_gone(number, end)
        else:
            self._place(worker)

    def _place(self, worker: Worker) -> None:
        key = worker.pool.key
        there = self._machine.scheduler.staff.devices.devices
        self._engine.spawn(
            WorkerRequest(
                worker=worker.number,
                is_async=key.is_async,
                env_vars=key.env_vars,
                bundle=self._bundles[key.bundle],
                recipe=key.recipe,
                threads=key.threads,
                devices=self._devices(worker) if there else None,
            )
        )

    def _devices(self, worker: Worker) -> tuple[str, ...]:
        """Return the names of the GPUs that belong to the worker."""
        there = self._machine.scheduler.staff.devices.devices
        return tuple(there[place].name for place in worker.devices)

    # --- news -------------------------------------------------------------------------------------

    def connected(self, session: "Session", number: int) -> Worker | None:
        """A worker said Hello; None if nobody waits for it."""
        worker = self._machine.expected(number)
        if worker is None:
            return None
        self._sessions[number] = session
        if self._echo:
            self._echo.follow(number, self._engine.log_path(number))
        session.send(self._welcome(worker))
        if worker.pool.reuse.startup is None:  # otherwise it says when it is ready
            with self._controller.batch():
                self._machine.worker_ready(number)
        return worker

    def _welcome(self, worker: Worker) -> Welcome:
        config, reuse = self._controller.config, worker.pool.reuse
        return Welcome(
            self._bundles[worker.pool.key[0]],
            str(config.blobs),
            config.grace,
            reuse.concurrency,
            sync=config.durability == "full",
            storage=config.storage,
            home=str(config.home),
            devices=self._devices(worker),
            startup=reuse.startup,
            startup_limit=reuse.startup_limit,
            max_memory=reuse.max_memory,
            secrets=self._secrets.pop(worker.number, ()),
        )

    def connection_lost(self, worker: Worker) -> None:
        """A worker's connection has ended: its process ends, or is made to."""
        self._sessions.pop(worker.number, None)
        exit_ = self._exits.pop(worker.number, None)
        if exit_ is not None:
            self._gone(exit_)
        else:
            worker.stopping = True
            self._engine.kill(worker.number)

    def _delayed(self, delay: WorkerDelay) -> None:
        """The engine has something to do before workers can start."""
        self._controller.warn(delay.text)
        with self._controller.batch():
            self._machine.delayed(delay.workers, delay.text)

    def _exited(self, exit_: WorkerExit) -> None:
        """The engine's report. What the worker had sent before it died is handled first."""
        session = self._sessions.get(exit_.worker)
        if session is None:
            self._gone(exit_)
        else:
            self._exits[exit_.worker] = exit_
            asyncio.get_running_loop().call_later(DRAIN_SECONDS, session.close)

    def _gone(self, exit_: WorkerExit) -> None:
        self._secrets.pop(exit_.worker, None)
        if self._echo:
            self._echo.leave(exit_.worker)
        with self._controller.batch():
            self._machine.worker_gone(exit_.worker, judge(exit_))

    def _low_memory(self, memory: LowMemory) -> None:
        with self._controller.batch():
            self._machine.low_memory(memory)

    def pids(self) -> dict[int, int]:
        """Return the processes of the workers that have said Hello, by their numbers."""
        return {number: session.pid for number, session in self._sessions.items()}

    def look(self) -> None:
        """Show what tasks have printed so far."""
        if self._echo:
            self._echo.look()

    def _listen(self) -> None:
        if self._echo:
            self._echo.look()
            asyncio.get_running_loop().call_later(ECHO_SECONDS, self._listen)
