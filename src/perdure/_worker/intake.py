"""The socket of a sync worker: read by a thread of its own, or by one that waits for what comes.

The reader is needed while the main thread executes user code: something must take cancels then. But
a main thread that waits for an outcome, or for work, and lets the reader fetch it, pays for two
changes of threads. So in the midst of a conversation (see ``lingering.py``) it keeps looking at
the socket itself for a moment before it goes to sleep. Meanwhile the reader is told of nothing that
arrives. Where there is no ``epoll`` to arrange that, the reader reads everything.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable

from perdure._wire.lingering import LINGER_SECONDS, LITTLE, Conversation
from perdure._worker.receiving import Receiver


class Intake:
    """Hands on what arrives, in order, on one thread at a time.

    Args:
        sock: Connected and blocking.
        received: Called with what arrived, a view of a buffer that is used again; an empty one
            means the end.
    """

    def __init__(self, sock: socket.socket, received: Callable[[memoryview], None]) -> None:
        self._sock = sock
        self._received = received
        self._receiver = Receiver(sock)
        self._turn = threading.Lock()  # whoever holds it reads, and acts on what it has read
        self._conversation = Conversation()
        self._lively = self._ended = False
        self._epoll: select.epoll | None = None
        if hasattr(select, "epoll"):
            self._epoll = select.epoll()
            self._epoll.register(sock, select.EPOLLIN)

    def serve(self) -> None:
        """Read whatever nobody else reads, until the end."""
        while not self._ended:
            if self._epoll is None:
                self._take(0)
            else:
                self._epoll.poll()
                with self._turn:
                    self._take(socket.MSG_DONTWAIT)

    def linger(self, done: Callable[[], bool]) -> None:
        """Read on this thread until ``done``, if that is likely to be soon; not for long."""
        if self._epoll is None or not self._lively:
            return
        until = time.perf_counter() + LINGER_SECONDS
        with self._turn:
            self._epoll.modify(self._sock, 0)
            try:
                while not done() and time.perf_counter() < until:
                    if not self._take(socket.MSG_DONTWAIT):
                        os.sched_yield()
            finally:
                self._epoll.modify(self._sock, select.EPOLLIN)

    def _take(self, flags: int) -> bool:
        """Read once; return whether there was anything."""
        data = self._receiver.receive(flags)
        if data is None:
            return False
        self._ended = not data
        self._received(data)
        if len(data) < LITTLE:
            self._lively = self._conversation.goes_on()
        return True
