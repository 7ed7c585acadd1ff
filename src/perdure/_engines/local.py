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
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from perdure._engines.forkserver_protocol import (
    STARTUP_FAILED,
    Exited,
    FromForkserver,
    Kill,
    Limit,
    Low,
    Ready,
    Setup,
    Spawn,
    Spawned,
    decode_from_forkserver,
)
from perdure._engines.threads import thread_variables
from perdure._ports import LowMemory, WorkerExit, WorkerRequest
from perdure._wire.framing import FrameReader, encode
from perdure._wire.messages import Message
from perdure.config import log_path
from perdure.errors import StorageError

_RECEIVE_BYTES = 1 << 16
_OUTPUT_BYTES = 4096  # how much of what a process said last is worth telling
_STOP_SECONDS = 2.0  # by then even a worker with a lot of memory has been torn down
_BOOT = "from perdure._worker.forkserver import main; main({fd}, {parent})"


class LocalEngine:
    """Places workers on this machine (see :class:`perdure._ports.Engine`).

    Args:
        logs: Folder of the workers' logs; made if it does not exist.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._address = ""
        self._token = ""
        self._on_exit: Callable[[WorkerExit], None] = _ignore
        self._on_low_memory: Callable[[LowMemory], None] = _ignore
        self._server: _Forkserver | None = None
        self._workers: dict[int, int] = {}  # worker -> pid, 0 until the forkserver has told

    def prelaunch(self) -> None:
        """Start the forkserver now, before there is an event loop; it boots in parallel."""
        if self._server is None:
            self._server = _Forkserver()

    def abandon(self) -> None:
        """Take :meth:`prelaunch` back: the engine will not be started after all."""
        server, self._server = self._server, None
        if server is not None:
            server.abandon()

    async def start(
        self,
        address: str,
        token: str,
        on_exit: Callable[[WorkerExit], None],
        on_low_memory: Callable[[LowMemory], None],
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
        self._address, self._token = address, token
        self._on_exit, self._on_low_memory = on_exit, on_low_memory
        self._attach()

    def spawn(self, request: WorkerRequest) -> None:
        """Place a worker."""
        server = self._server or self._attach()
        self._workers[request.worker] = 0
        server.send(
            Spawn(
                worker=request.worker,
                is_async=request.is_async,
                environ=_environ(request),
                bundle=msgspec.structs.replace(request.bundle, files=()),
            )
        )

    def kill(self, worker: int) -> None:
        """SIGKILL the worker and every process of its group; unknown workers are ignored."""
        if worker in self._workers and self._server is not None:
            self._server.send(Kill(worker))

    def limit(self, worker: int, memory: int) -> None:
        """Kill the worker once its processes use more than so many bytes; 0: do not look."""
        if worker in self._workers and self._server is not None:
            self._server.send(Limit(worker, memory))

    def log_path(self, worker: int) -> str:
        """Return the path of the worker's log file."""
        return str(log_path(self._logs, worker))

    async def stop(self) -> None:
        """Kill all workers and release everything. ``on_exit`` is not called any more."""
        self._on_exit = self._on_low_memory = _ignore
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
        self._workers.clear()

    def _attach(self) -> "_Forkserver":
        """Make the forkserver talk to the running loop, launching it if there is none."""
        self.prelaunch()
        server = self._server
        assert server is not None
        server.attach(self._heard, self._lost)
        server.send(Setup(self._address, self._token, str(self._logs)))
        return server

    def _heard(self, message: FromForkserver) -> None:
        match message:
            case Spawned(worker, pid):
                self._workers[worker] = pid
            case Exited(worker, exit_code, signal_number, out_of_memory, output, over):
                self._workers.pop(worker, None)
                if exit_code == STARTUP_FAILED:
                    output = _tail(self.log_path(worker))
                self._on_exit(
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
                self._on_low_memory(memory)
            case Ready():
                pass

    def _lost(self, output: str) -> None:
        """The forkserver is gone: so are its workers."""
        self._server = None
        lost, self._workers = self._workers, {}
        for worker, pid in lost.items():
            if pid:
                # The kernel kills workers of a dead forkserver, but not what they started.
                _kill_group(pid)
            self._on_exit(WorkerExit(worker=worker, signal=signal.SIGKILL, output=output))


class _Forkserver:
    """One forkserver process and the engine's end of the socket pair."""

    def __init__(self) -> None:
        self._sock, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    *_interpreter_flags(),
                    "-c",
                    _BOOT.format(fd=theirs.fileno(), parent=os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        assert self._process.stderr is not None
        self._stderr = self._process.stderr
        self._sock.setblocking(False)
        os.set_blocking(self._stderr.fileno(), False)
        self._reader = FrameReader()
        self._unsent = bytearray()
        self._said: deque[bytes] = deque(maxlen=4)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gone: asyncio.Future[None] | None = None
        self._is_ready = False

    def attach(self, heard: Callable[[FromForkserver], None], lost: Callable[[str], None]) -> None:
        """Deliver messages and the news of its death on the running loop."""
        self._heard, self._lost = heard, lost
        self._loop = asyncio.get_running_loop()
        self._gone = self._loop.create_future()
        self._loop.add_reader(self._sock, self._receive)
        self._loop.add_reader(self._stderr, self._listen)

    def send(self, message: Message) -> None:
        """Send without waiting; what the socket does not take now goes when it can."""
        assert self._loop is not None
        if not self._unsent:
            self._loop.add_writer(self._sock, self._flush)
        self._unsent += encode([message])
        self._flush()

    async def stop(self) -> None:
        """End the process, which ends the workers first, and wait until it has."""
        if self._is_ready:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        else:
            self._process.kill()  # it has no workers yet, and is busy importing
        if self._gone is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone, _STOP_SECONDS)
        self._close()

    def _flush(self) -> None:
        assert self._loop is not None
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._unsent)  # it died; the end of the stream will say so
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._sock)

    def _receive(self) -> None:
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._is_ready = True
            for body in self._reader.feed(data):
                for message in decode_from_forkserver(body):
                    self._heard(message)
            return
        assert self._gone is not None
        self._listen()
        if not self._gone.done():
            self._gone.set_result(None)
        self._close()
        said = b"".join(self._said)[-_OUTPUT_BYTES:].decode(errors="replace")
        self._lost(f"the process that starts workers ended\n{said}".strip())

    def _listen(self) -> None:
        """Drain what the process writes to stderr, so that it never blocks on it."""
        data = self._stderr.read(_RECEIVE_BYTES)
        if data:
            self._said.append(data)
        elif data is not None and self._loop is not None:
            self._loop.remove_reader(self._stderr)

    def abandon(self) -> None:
        """End a process that has not been attached to anything."""
        self._close()

    def _close(self) -> None:
        """Release everything; idempotent."""
        if self._sock.fileno() < 0:
            return
        if self._loop is not None:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._loop.remove_reader(self._stderr)
        self._sock.close()
        self._stderr.close()
        self._process.kill()
        self._process.wait()


def _interpreter_flags() -> list[str]:
    """Return the flags (-O, -W, -X ...) under which user code must run in workers, too."""
    # What multiprocessing uses for its own forkserver; there is no public name for it.
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001


def _environ(request: WorkerRequest) -> dict[bytes, bytes]:
    environ = os.environb.copy()
    environ.update((os.fsencode(name), os.fsencode(value)) for name, value in request.env_vars)
    environ.update(thread_variables(request.threads, environ.keys()))
    return environ


def _tail(path: str) -> str:
    """Return the last lines of a file, "" if there is none."""
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _OUTPUT_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _ignore(_: object) -> None:
    """Nobody wants to know."""
