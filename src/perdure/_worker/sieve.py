"""Between descriptors 1 and 2 of a worker that has secrets and its log: a process that masks them.

Whatever Python, a C library or a subprocess writes goes through a pipe to a small process forked
before any user code was loaded. A thread would not do: C code that holds the interpreter's lock
while it writes would wait for ever for the pipe to be emptied, and what a crash has left in it
would be lost. This process goes on until the last writer has closed the pipe.
"""

import contextlib
import os
import select
import signal
import socket
from pathlib import Path
from typing import NoReturn

from perdure._secrets.masking import Flow, Mask
from perdure._worker.death import die

_BYTES = 1 << 16
_SOURCE, _LOG, _CONTROL = 0, 1, 2  # what the descriptors of the process are


class Sieve:
    """The worker's end. Replaces descriptors 1 and 2.

    Args:
        mask: What to mask.
        log: Descriptor of the log, opened for appending.
    """

    def __init__(self, mask: Mask, log: int) -> None:
        source, sink = os.pipe()
        self._control, theirs = socket.socketpair()
        if os.fork() == 0:
            _become_sieve(mask, source, log, theirs.fileno())
        theirs.close()
        os.close(source)
        for descriptor in (1, 2):
            os.dup2(sink, descriptor)
        os.close(sink)

    def settle(self) -> None:
        """Wait until everything that was written before is in the log."""
        try:
            self._control.send(b".")
            answered = self._control.recv(1)
        except OSError:
            answered = b""
        if not answered:
            die()  # somebody has killed the sieve: nothing could be written any more


def _become_sieve(mask: Mask, source: int, log: int, control: int) -> NoReturn:
    """Be the process in between, until there is nobody to write."""
    try:
        os.setpgid(0, 0)  # to outlive the worker for as long as it takes to empty the pipe
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        kept = [os.dup(each) for each in (source, log, control)]
        for descriptor, each in enumerate(kept):
            os.dup2(each, descriptor)
        for path in list(Path("/dev/fd").iterdir()):
            with contextlib.suppress(OSError):  # the one of that folder is closed already
                if int(path.name) > _CONTROL:
                    os.close(int(path.name))
        os.set_blocking(_SOURCE, False)
        _pass_on(Flow(mask))
    finally:
        os._exit(0)


def _pass_on(flow: Flow) -> None:
    poll = select.poll()
    poll.register(_SOURCE, select.POLLIN)
    poll.register(_CONTROL, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if not _empty(flow):
            _write(flow.rest())
            return
        if _CONTROL in ready:
            asked = os.read(_CONTROL, 1)
            if asked:
                _empty(flow)
                _write(flow.rest())
                with contextlib.suppress(OSError):
                    os.write(_CONTROL, asked)
            else:
                poll.unregister(_CONTROL)  # the worker is gone; what it has started may be not


def _empty(flow: Flow) -> bool:
    """Pass on what is in the pipe; return whether there may be more."""
    while True:
        try:
            data = os.read(_SOURCE, _BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        _write(flow.feed(data))


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(_LOG, rest) :]
