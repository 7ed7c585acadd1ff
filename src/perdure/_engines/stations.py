"""Stations: where workers of one interpreter are placed, and what has to be there first.

A station is a forkserver and its workers. This interpreter has one. An environment is had (found,
waited for, built) on a thread, while the requests gather. Then its workers are forked as guests by
the forkserver of this interpreter, if that says that there is room: nothing has to be started. If
not, the environment has a forkserver of its own, which ends when it has had no worker for a while.
"""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from perdure._engines.forkserver_protocol import (
    STARTUP_FAILED,
    AskRoom,
    Exited,
    FromForkserver,
    Kill,
    Limit,
    Low,
    Ready,
    Room,
    Setup,
    Spawn,
    Spawned,
)
from perdure._engines.launching import Forkserver, launch_here, without_secrets
from perdure._ports import LowMemory, WorkerDelay, WorkerExit
from perdure.config import log_path
from perdure.errors import EnvironmentBuildError, PerdureError

if TYPE_CHECKING:
    from perdure._environments.store import Environment

IDLE_SECONDS = 60.0
"""How long the forkserver of an environment is kept without workers."""

_OUTPUT_BYTES = 4096


class Source(Protocol):
    """Where environments are had from."""

    def __call__(
        self, recipe: bytes, tell: Callable[[str], None], stop: threading.Event
    ) -> "Environment":
        """Return the environment of the recipe in that blob; may take long."""


class Station:
    """The workers of this interpreter.

    Attributes:
        workers: Pids by worker, 0 until the forkserver has told.
        setup: Whom they dial.
        exited: Is told of their ends.
        low: Is told when the machine is about to run out of memory.
    """

    def __init__(self) -> None:
        self.workers: dict[int, int] = {}
        self.setup = Setup("", "", "")
        self.exited: Callable[[WorkerExit], None] = lambda exit_: None
        self.low: Callable[[LowMemory], None] = lambda memory: None
        self._server: Forkserver | None = None
        self._asked: list[tuple[str, asyncio.Future[bool]]] = []

    def is_served_by(self, server: Forkserver | None) -> bool:
        """Whether that is its forkserver now."""
        return server is not None and server is self._server

    def launch(self) -> None:
        """Start the forkserver, if there is none."""
        if self._server is None:
            self._server = self._launched()

    def attach(self) -> Forkserver:
        """Make the forkserver talk to the running loop, launching it if there is none."""
        self.launch()
        server = self._server
        assert server is not None
        server.attach(self._heard, self._lost)
        server.send(self.setup)
        return server

    def tell(self, setup: Setup) -> None:
        """From now on workers are set up like this."""
        self.setup = setup
        if self._server is not None:
            self._server.send(setup)

    @property
    def server(self) -> int | None:
        """The process of the forkserver, None if there is none."""
        return None if self._server is None else self._server.pid

    def abandon(self) -> None:
        """Take :meth:`launch` back, before there is a loop."""
        server, self._server = self._server, None
        if server is not None:
            server.abandon()

    def spawn(self, request: Spawn) -> None:
        """Place a worker."""
        self.workers[request.worker] = 0
        (self._server or self.attach()).send(request)

    async def room_for(self, folder: Path) -> Forkserver | None:
        """Return its forkserver if that may fork the workers of the environment in a folder."""
        try:
            server = self._server or self.attach()
        except OSError:
            return None
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.append((str(folder), answer))
        server.send(AskRoom(str(folder)))
        return server if await answer else None

    def kill(self, worker: int) -> None:
        """End a worker of this station."""
        if self._server is not None:
            self._server.send(Kill(worker))

    def limit(self, worker: int, memory: int) -> None:
        """Have a worker of this station ended once it uses more than so many bytes."""
        if self._server is not None:
            self._server.send(Limit(worker, memory))

    async def stop(self) -> None:
        """Kill all workers and release everything."""
        self.exited, self.low = lambda exit_: None, lambda memory: None
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
        self.workers.clear()
        self._answer()

    def _launched(self) -> Forkserver:
        return launch_here()

    def _heard(self, message: FromForkserver) -> None:
        match message:
            case Spawned(worker, pid):
                self.workers[worker] = pid
            case Exited(worker, exit_code, signal_number, out_of_memory, output, over):
                if exit_code == STARTUP_FAILED:
                    output = _tail(log_path(Path(self.setup.logs), worker))
                self._gone(
                    WorkerExit(
                        worker=worker,
                        exit_code=exit_code,
                        signal=signal_number,
                        out_of_memory=out_of_memory,
                        output=output,
                        over=over,
                    )
                )
            case Low(memory):
                self.low(memory)
            case Room(folder, is_there):
                self._answer(folder, is_there=is_there)
            case Ready():
                pass

    def _answer(self, folder: str = "", *, is_there: bool = False) -> None:
        """Answer who has asked about a folder; all who have asked, if none is named."""
        for asked in [asked for asked in self._asked if folder in ("", asked[0])]:
            self._asked.remove(asked)
            asked[1].set_result(is_there)

    def _gone(self, exit_: WorkerExit) -> None:
        self.workers.pop(exit_.worker, None)
        self.exited(exit_)

    def _lost(self, output: str) -> None:
        """The forkserver is gone: so are its workers."""
        self._server = None
        self._answer()
        lost, self.workers = self.workers, {}
        for worker, pid in lost.items():
            if pid:
                # The kernel kills workers of a dead forkserver, but not what they started.
                _kill_group(pid)
            self.exited(WorkerExit(worker=worker, signal=signal.SIGKILL, output=output))


class EnvironmentStation(Station):
    """The workers of an environment.

    Args:
        recipe: Blob that says what is installed in it.
        source: Where it is had from.
        delayed: Is told what keeps workers from starting.
        host: Where they are guests, if it has room for them.
    """

    def __init__(
        self,
        recipe: bytes,
        source: Source,
        delayed: Callable[[WorkerDelay], None],
        host: Station,
    ) -> None:
        super().__init__()
        self._recipe = recipe
        self._source = source
        self._delayed = delayed
        self._host = host
        self._guests: set[int] = set()
        self._welcomed: Forkserver | None = None  # who has told that there is room
        self._stays_alone = False
        self._environment: Environment | None = None
        self._waiting: dict[int, Spawn] = {}
        self._getting: asyncio.Task[None] | None = None
        self._give_up = threading.Event()
        self._idle: asyncio.TimerHandle | None = None
        self._works = self._renewed = False

    def spawn(self, request: Spawn) -> None:
        """Place a worker, as soon as the environment is there."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._environment is not None and self._stays_alone:
            try:
                super().spawn(self._inside(request))
            except OSError as error:  # its interpreter is not there any more
                self._lost(str(error))
            return
        if self._environment is not None and self._host.is_served_by(self._welcomed):
            self.workers.pop(request.worker, None)
            self._guests.add(request.worker)
            self._host.spawn(self._inside(request))
            self._rest()
            return
        self._waiting[request.worker] = request
        self.workers[request.worker] = 0
        if self._getting is None:
            self._getting = asyncio.create_task(self._get())

    def kill(self, worker: int) -> None:
        """End a worker, which may not have been started yet."""
        if self._waiting.pop(worker, None) is None:
            super().kill(worker)
        else:
            self._gone(WorkerExit(worker=worker, signal=signal.SIGKILL))

    async def stop(self) -> None:
        """Kill all workers; a build is given up."""
        self._give_up.set()
        if self._idle is not None:
            self._idle.cancel()
        if self._getting is not None:
            await self._getting
        await super().stop()
        self._close()

    async def _get(self) -> None:
        """Have the environment and a place for it, and place the workers that wait for that."""
        from perdure._environments.uv import Stopped

        try:
            if self._environment is None:
                self._environment = await self._had()
            if not self._give_up.is_set():
                self._welcomed = await self._host.room_for(self._environment.folder)
                self._stays_alone = self._welcomed is None
        except Stopped:
            return
        except Exception as error:
            self._refuse(error)
            return
        finally:
            self._getting = None
        waiting, self._waiting = self._waiting, {}
        if not self._give_up.is_set():
            for request in waiting.values():
                if request.worker in self.workers:  # unless all are lost with the first one
                    self.spawn(request)
            self._rest()

    async def _had(self) -> "Environment":
        loop = asyncio.get_running_loop()

        def tell(text: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._tell, text)

        return await _on_thread(lambda: self._source(self._recipe, tell, self._give_up))

    def _refuse(self, error: Exception) -> None:
        known = error if isinstance(error, PerdureError) else EnvironmentBuildError(repr(error))
        self._waiting.clear()
        for worker in list(self.workers):
            self._gone(WorkerExit(worker=worker, error=known))

    def _tell(self, text: str) -> None:
        if not self._give_up.is_set():
            self._delayed(WorkerDelay(workers=tuple(self.workers), text=text))

    def _inside(self, request: Spawn) -> Spawn:
        """Return the request as it is right there: other variables, another import path."""
        assert self._environment is not None
        bundle = request.bundle
        return msgspec.structs.replace(
            request,
            environ=self._environ(request.environ),
            bundle=msgspec.structs.replace(bundle, sys_path=own_paths(bundle.sys_path)),
            outside=bundle.sys_path,
            inside="" if self._stays_alone else str(self._environment.folder),
        )

    def _environ(self, environ: dict[bytes, bytes]) -> dict[bytes, bytes]:
        assert self._environment is not None
        folder = os.fsencode(self._environment.folder)
        path = environ.get(b"PATH", os.fsencode(os.defpath))
        inside = environ | {b"VIRTUAL_ENV": folder, b"PATH": folder + b"/bin:" + path}
        inside.pop(b"PYTHONHOME", None)
        return inside

    def _launched(self) -> Forkserver:
        assert self._environment is not None
        return Forkserver(str(self._environment.python), self._environ(without_secrets()))

    def _heard(self, message: FromForkserver) -> None:
        if isinstance(message, Ready):
            self._works, self._renewed = True, False
        super()._heard(message)

    def _lost(self, output: str) -> None:
        """The forkserver is gone. If it has never been ready, the environment is damaged."""
        environment = None if self._works else self._environment
        self._works = False
        if environment is None:
            super()._lost(output)
            return
        self._environment, self._server = None, None
        folder = environment.folder
        if self._renewed or not environment.discard():
            environment.close()
            self._refuse(_damaged(folder, output))
            return
        self._renewed = True
        environment.close()
        self._tell(
            f"environment {folder.name[:8]} is damaged: it is built anew, once nobody uses it"
        )
        super()._lost(output)  # other workers are asked for in their place

    def _gone(self, exit_: WorkerExit) -> None:
        super()._gone(exit_)
        self._rest()

    def _rest(self) -> None:
        """After a while, if nobody works here, end the forkserver and leave the environment."""
        if self._idle is None and not self.workers and not self._give_up.is_set():
            self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._retire)

    def _retire(self) -> None:
        self._idle = None
        self._guests &= self._host.workers.keys()
        if self._guests:
            self._rest()
        elif not self.workers:
            self.abandon()
            self._close()

    def _close(self) -> None:
        environment, self._environment = self._environment, None
        if environment is not None:
            environment.close()


def _damaged(folder: Path, output: str) -> EnvironmentBuildError:
    return EnvironmentBuildError(
        f"no worker can be started in environment {folder.name[:8]}: {output}",
        hint=f"remove {folder}: it is built anew when it is needed",
    )


def own_paths(sys_path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the entries of an import path that are the user's, not an interpreter's."""
    return tuple(entry for entry in sys_path if not _of_interpreter(entry))


def _of_interpreter(entry: str) -> bool:
    path = Path(entry)
    if path.name in ("site-packages", "dist-packages", "lib-dynload"):
        return True
    name = path.name.removesuffix(".zip").removesuffix("t")
    number = name.removeprefix("python").replace(".", "")
    return name.startswith("python") and number.isdecimal() and "lib" in path.parent.name


async def _on_thread(work: "Callable[[], Environment]") -> "Environment":
    """Do it on a thread of its own, which nothing at the end of the process waits for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Environment] = loop.create_future()

    def finish(environment: "Environment | None", error: BaseException | None) -> None:
        if environment is not None:
            done.set_result(environment)
        else:
            assert error is not None
            done.set_exception(error)

    def run() -> None:
        try:
            outcome: tuple[Environment | None, BaseException | None] = (work(), None)
        except BaseException as error:
            outcome = (None, error)
        loop.call_soon_threadsafe(finish, *outcome)

    threading.Thread(target=run, name="perdure-environment", daemon=True).start()
    return await done


def _tail(path: Path) -> str:
    """Return the last lines of a file, "" if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _OUTPUT_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
