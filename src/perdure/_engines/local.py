"""The local engine: worker processes on this machine, forked from a warm forkserver.

Starting an interpreter and importing what a worker needs takes 0.1 s; forking a process that has
done so takes milliseconds. So the engine starts one *forkserver* (``perdure._worker.forkserver``)
and asks it, over a socket pair, for workers. The forkserver is single-threaded and never loads user
code, so forking it is safe, whatever threads the user's process has.

Who dies with whom:

- The forkserver is the parent of all workers. It sees their ends at once (SIGCHLD) and tells.
- It leads a session of its own, so a Ctrl-C in the terminal reaches neither it nor the workers: the
  user's process alone decides what that means.
- When the user's process ends, however it ends, the socket pair closes; the forkserver kills every
  worker's process group and exits.
- When the forkserver itself dies, the kernel kills the workers (Linux), the engine kills what is
  left of their groups, reports every worker as exited, and the next spawn launches another one.

Workers of tasks with images are forked from it, too, if it has nothing loaded that is another thing
in their environment; if it has, that gets a forkserver of its own: see ``stations.py``.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perdure._engines.cells import Division
from perdure._engines.forkserver_protocol import Setup, Spawn
from perdure._engines.launching import environ
from perdure._engines.stations import EnvironmentStation, Source, Station
from perdure._ports import LowMemory, WorkerDelay, WorkerExit, WorkerRequest
from perdure.config import log_path
from perdure.errors import NotSupportedError, StorageError

if TYPE_CHECKING:
    from perdure._environments.store import Environment


def _none(recipe: bytes, tell: Callable[[str], None], stop: threading.Event) -> "Environment":
    raise NotSupportedError("this engine has no environments")


class LocalEngine:
    """Places workers on this machine (see :class:`perdure._ports.Engine`).

    Args:
        logs: Folder of the workers' logs; made if it does not exist.
        environments: Where the environments of images are had from.
        division: Lets the kernel keep workers to their memory where it can; None: nowhere.
    """

    def __init__(
        self, logs: Path, environments: Source = _none, division: Division | None = None
    ) -> None:
        self._logs = logs
        self._environments = environments
        self._division = division
        self._is_divided = False
        self._setup = Setup("", "", "")
        self._on_exit: Callable[[WorkerExit], None] = _ignore
        self._on_low_memory: Callable[[LowMemory], None] = _ignore
        self._on_delay: Callable[[WorkerDelay], None] = _ignore
        self._here = Station()
        self._stations: dict[bytes, Station] = {b"": self._here}

    def prelaunch(self) -> None:
        """Start the forkserver now, before there is an event loop; it boots in parallel."""
        self._here.launch()

    def abandon(self) -> None:
        """Take :meth:`prelaunch` back: the engine will not be started after all."""
        self._here.abandon()

    async def start(
        self,
        address: str,
        token: str,
        on_exit: Callable[[WorkerExit], None],
        on_low_memory: Callable[[LowMemory], None],
        on_delay: Callable[[WorkerDelay], None] = lambda delay: None,
    ) -> None:
        """Get ready to place workers that dial ``address``.

        Raises:
            StorageError: The folder of logs cannot be made.
        """
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot make the folder of logs {self._logs}: {error.strerror}",
                hint="make it writable, or set PERDURE_HOME to a folder that is",
            ) from error
        self._setup = Setup(address, token, str(self._logs))
        self._on_exit, self._on_low_memory, self._on_delay = on_exit, on_low_memory, on_delay
        self._open(self._here)
        self._here.attach()

    def spawn(self, request: WorkerRequest) -> None:
        """Place a worker."""
        station = self._stations.get(request.recipe)
        if station is None:
            station = EnvironmentStation(
                request.recipe, self._environments, self._on_delay, self._here
            )
            self._stations[request.recipe] = station
            self._open(station)
        station.spawn(
            Spawn(
                worker=request.worker,
                is_async=request.is_async,
                environ=environ(request),
                bundle=msgspec.structs.replace(request.bundle, files=()),
            )
        )

    def kill(self, worker: int) -> None:
        """SIGKILL the worker and every process of its group; unknown workers are ignored."""
        for station in self._stations.values():
            if worker in station.workers:
                station.kill(worker)
                return

    def limit(self, worker: int, memory: int) -> None:
        """Kill the worker once its processes use more than so many bytes; 0: do not look."""
        if memory and not self._is_divided:
            self._divide()
        for station in self._stations.values():
            if worker in station.workers:
                station.limit(worker, memory)
                return

    def log_path(self, worker: int) -> str:
        """Return the path of the worker's log file."""
        return str(log_path(self._logs, worker))

    async def stop(self) -> None:
        """Kill all workers and release everything. ``on_exit`` is not called any more."""
        self._on_exit = self._on_low_memory = _ignore
        for station in self._stations.values():
            await station.stop()
        self._stations = {b"": self._here}
        if self._division is not None:
            self._division.close()
            self._is_divided = False

    def _divide(self) -> None:
        """Have the kernel keep workers to their memory, too, if it does."""
        self._is_divided = True
        if self._division is not None:
            stations = self._stations.values()
            servers = {station.server for station in stations if station.server is not None}
            if cells := self._division.open(servers):
                self._setup = msgspec.structs.replace(self._setup, cells=cells)
                for station in stations:
                    station.tell(self._setup)

    def _open(self, station: Station) -> None:
        station.setup = self._setup
        station.exited, station.low = self._on_exit, self._on_low_memory


def _ignore(_: object) -> None:
    """Nobody wants to know."""
