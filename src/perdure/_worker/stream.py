"""A socket on an event loop that can also be served by hand.

Some code on the loop's thread has to wait for an answer without giving the loop a turn: a traced
``def`` function called by a coroutine returns only when it is recorded. A transport of asyncio
cannot do that. This one can: what arrives in the meantime is handled as if the loop had read it.
"""

import asyncio
import select
import socket
from collections.abc import Callable

from perdure._worker.receiving import Receiver


class LoopStream:
    """Reads and writes a socket on the running loop.

    Args:
        sock: Connected; made non-blocking.
        received: Called with what arrived, a view of a buffer that is used again; an empty one
            means the end.
    """

    def __init__(self, sock: socket.socket, received: Callable[[memoryview], None]) -> None:
        self._sock = sock
        self._received = received
        self._unsent = bytearray()
        self._receiver = Receiver(sock)
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)

    def start_reading(self) -> None:
        """Read whenever something has arrived, from now on."""
        self._loop.add_reader(self._sock, self._read)

    def write(self, data: bytes | bytearray) -> None:
        """Send now what the socket takes, and the rest when it can."""
        waiting = bool(self._unsent)
        self._unsent += data
        if not waiting:
            self._send()
            if self._unsent:
                self._loop.add_writer(self._sock, self._go_on_writing)

    def serve_until(self, done: Callable[[], bool]) -> None:
        """Send and receive on this thread, in the loop's stead, until ``done``."""
        poll = select.poll()
        while not done():
            poll.register(self._sock, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            ((_, event),) = poll.poll()
            if event & select.POLLOUT:
                self._go_on_writing()
            if event & ~select.POLLOUT:
                self._read()

    def _read(self) -> None:
        data = self._receiver.receive()
        if data is not None:
            self._received(data)

    def _go_on_writing(self) -> None:
        self._send()
        if not self._unsent:
            self._loop.remove_writer(self._sock)

    def _send(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._unsent)  # the peer is gone; reading will tell
        del self._unsent[:sent]
