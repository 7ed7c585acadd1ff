"""Receiving from a socket without making a buffer each time."""

import socket

RECEIVE_BYTES = 1 << 18


class Receiver:
    """Receives into one buffer: a new one of this size would be mapped and unmapped each time.

    Args:
        sock: Connected.
    """

    __slots__ = ("_buffer", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))

    def receive(self, flags: int = 0) -> memoryview | None:
        """Return what has arrived, empty at the end; None if there is nothing and no waiting.

        The view is of the buffer, and holds until the next call.
        """
        try:
            size = self._sock.recv_into(self._buffer, 0, flags)
        except BlockingIOError:
            return None
        except OSError:
            size = 0
        return self._buffer[:size]
