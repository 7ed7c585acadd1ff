"""Asking the controller of another process, or of this one, for something: blocking."""

import os
import socket

from perdure._wire.framing import FrameReader, decode_to_worker, encode
from perdure._wire.messages import PROTOCOL, Abort, Answer, Hello, Signal

PATIENCE = 60.0
"""Seconds after which a controller that does not answer counts as gone."""


def ask(address: str, token: str, request: Abort | Signal) -> Answer:
    """Send a request to the controller at ``address``; return its answer.

    Raises:
        OSError: It is not there any more, or hangs up: it may have done it all the same.
    """
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(address)
        peer.sendall(encode([Hello(PROTOCOL, token, 0, os.getpid())]))
        peer.sendall(encode([request]))
        reader = FrameReader()
        while data := peer.recv(1 << 16):
            for body in reader.feed(data):
                for message in decode_to_worker(body):
                    assert isinstance(message, Answer)
                    return message
    raise ConnectionResetError("the controller hung up")
