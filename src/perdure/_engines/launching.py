"""One forkserver process, and the engine's end of the socket pair to it."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

from perdure._engines.forkserver_protocol import FromForkserver, decode_from_forkserver
from perdure._engines.threads import thread_variables
from perdure._ports import WorkerRequest
from perdure._secrets.naming import declared
from perdure._wire.framing import FrameReader, encode
from perdure._wire.messages import Message

_RECEIVE_BYTES = 1 << 16
_OUTPUT_BYTES = 4096  # how much of what a process said last is worth telling
_STOP_SECONDS = 2.0  # by then even a worker with a lot of memory has been torn down
VISIBLE = b"CUDA_VISIBLE_DEVICES"
_BOOT = "from perdure._worker.forkserver import main; main({fd}, {parent})"


def environ(request: WorkerRequest) -> dict[bytes, bytes]:
    """Return what a worker finds in its environment; its secrets come when it has said Hello.

    Whose tasks ask for no GPU sees none, unless they say which.
    """
    found = without_secrets(request.bundle.secret_variables)
    if request.devices is not None:
        found[VISIBLE] = b""
    found.update((os.fsencode(name), os.fsencode(value)) for name, value in request.env_vars)
    if request.devices:
        found[VISIBLE] = os.fsencode(",".join(request.devices))
    found.update(thread_variables(request.threads, found.keys()))
    return found


def without_secrets(names: tuple[str, ...] | None = None) -> dict[bytes, bytes]:
    """Return the environment that workers show in ``/proc``: that of the process forking them."""
    found = os.environb.copy()
    for name in declared() if names is None else names:
        found.pop(os.fsencode(name), None)
    return found


class Forkserver:
    """One forkserver process and the engine's end of the socket pair.

    Args:
        python: The interpreter that it, and the workers, run under.
        variables: Its environment.

    Attributes:
        owner: The process that has started it.
    """

    def __init__(self, python: str, variables: dict[bytes, bytes]) -> None:
        self.owner = os.getpid()
        self._sock, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(self._sock.close)
            self._process = subprocess.Popen(
                [
                    python,
                    *_interpreter_flags(),
                    "-c",
                    _BOOT.format(fd=theirs.fileno(), parent=self.owner),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=variables,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            undo.pop_all()
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

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

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


_ahead: Forkserver | None = None
_lock = threading.Lock()


@contextlib.contextmanager
def launched_ahead() -> Iterator[None]:
    """Have the forkserver of this interpreter boot while its engine is made, if that happens."""
    global _ahead
    with _lock:
        made = Forkserver(sys.executable, without_secrets()) if _ahead is None else None
        _ahead = _ahead or made
    try:
        yield
    finally:
        with _lock:
            is_left = made is not None and made is _ahead
            _ahead = None if is_left else _ahead
        if made is not None and is_left:
            made.abandon()


def launch_here() -> Forkserver:
    """Return a forkserver of this interpreter: the one that boots already, if there is one."""
    global _ahead
    with _lock:
        found, _ahead = _ahead, None
    if found is not None and found.owner == os.getpid():
        return found
    return Forkserver(sys.executable, without_secrets())


def _interpreter_flags() -> list[str]:
    """Return the flags (-O, -W, -X ...) under which user code must run in workers, too."""
    # What multiprocessing uses for its own forkserver; there is no public name for it.
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001
