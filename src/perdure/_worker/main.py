"""The life of a worker process: from a fresh fork to its executor and out again."""

import atexit
import faulthandler
import os
import socket
import sys
import time
from pathlib import Path

import msgspec

from perdure._core.model import Bundle
from perdure._engines.forkserver_protocol import Setup, Spawn
from perdure._version.environment import stand_for
from perdure._wire.framing import FrameReader, decode_to_worker, encode
from perdure._wire.messages import PROTOCOL, Hello, ToWorker, Welcome
from perdure._worker import async_executor, death, guests, loader, secrets, sync_executor
from perdure._worker.logs import LogCapture
from perdure.config import log_path
from perdure.errors import ProtocolError, StorageError

_RECEIVE_BYTES = 1 << 16


class Link(msgspec.Struct):
    """A worker's connection to its controller, after the greeting.

    Attributes:
        sock: The connected, blocking socket.
        reader: Cuts what arrives on it into frames.
        welcome: What the controller answered to Hello.
        messages: Messages that arrived together with the answer, in order.
        logs: Attributes what is written to stdout and stderr to attempts.
    """

    sock: socket.socket
    reader: FrameReader
    welcome: Welcome
    messages: list[ToWorker]
    logs: LogCapture


def work(setup: Setup, request: Spawn, parent: int) -> int:
    """Be worker ``request.worker`` until its controller ends it; return the exit code.

    Stdout and stderr are the worker's log already; ``parent`` is the process that forked this one.

    Raises:
        StorageError: The working directory is gone.
        OSError: Nobody answers at the controller's address.
        ProtocolError: The controller hung up instead of answering.
    """
    os.setpgid(0, 0)
    death.die_with_parent(parent)
    faulthandler.enable(file=2)  # a segfault leaves its stack in the log
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    _adopt_environment(request.environ)
    if request.inside:
        guests.move_in(Path(request.inside))
    _adopt_bundle(request.bundle)
    if request.outside:
        stand_for(request.outside, request.bundle.python)
    path = log_path(Path(setup.logs), request.worker)
    link = _greet(setup, request, LogCapture(path, interleaved=request.is_async))
    if link.welcome.secrets:
        link.logs.guard(secrets.adopt(link.welcome.secrets))
    executor = async_executor if request.is_async else sync_executor
    executor.run(link)
    _finish()
    return 0


def _finish() -> None:
    """Run what user code registered for the end of the process, as an interpreter would."""
    # The stack below is the forkserver's: the interpreter itself must not be finalised from here.
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _adopt_environment(environ: dict[bytes, bytes]) -> None:
    for name in os.environb.keys() - environ.keys():
        del os.environb[name]
    # Most of it is what there is: memory that a worker writes to is memory of its own.
    os.environb.update(environ.items() - os.environb.items())
    time.tzset()


def _adopt_bundle(bundle: Bundle) -> None:
    """Take over working directory, arguments and import path of the user's process."""
    if bundle.cwd:
        try:
            os.chdir(bundle.cwd)
        except OSError as error:
            raise StorageError(
                f"the working directory of the run cannot be entered: {error}",
                hint="put it back: relative paths in the run's code are meant from there",
            ) from None
    if bundle.argv:
        sys.argv[:] = bundle.argv
    # Our own entries stay reachable behind the user's: Perdure itself must be found in any case.
    sys.path[:] = dict.fromkeys((*bundle.sys_path, *filter(None, sys.path)))
    loader.install_main(bundle)


def _greet(setup: Setup, request: Spawn, logs: LogCapture) -> Link:
    """Dial the controller, say who we are, and wait to be let in."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(setup.address)
    sock.sendall(encode([Hello(PROTOCOL, setup.token, request.worker, os.getpid())]))
    reader = FrameReader()
    messages: list[ToWorker] = []
    while not messages:
        data = sock.recv(_RECEIVE_BYTES)
        if not data:
            raise ProtocolError("the controller hung up on a worker that said Hello")
        for body in reader.feed(data):
            messages += decode_to_worker(body)
    welcome = messages.pop(0)
    if not isinstance(welcome, Welcome):
        raise ProtocolError(f"the controller answered Hello with {type(welcome).__name__}")
    return Link(sock, reader, welcome, messages, logs)
