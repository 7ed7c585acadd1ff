"""Asking the controller of another process, or of this one, for something: blocking."""

import os
import socket
from typing import overload

from perdure._wire.framing import FrameReader, encode
from perdure._wire.messages import PROTOCOL, Hello
from perdure._wire.requests import (
    Abort,
    Answer,
    Explained,
    Reply,
    Request,
    Signal,
    Survey,
    Surveyed,
    Why,
    decode_replies,
)

PATIENCE = 60.0
"""Seconds after which a controller that does not answer counts as gone."""


@overload
def ask(address: str, token: str, request: Abort | Signal, seconds: float = PATIENCE) -> Answer: ...
@overload
def ask(address: str, token: str, request: Why, seconds: float = PATIENCE) -> Explained: ...
@overload
def ask(address: str, token: str, request: Survey, seconds: float = PATIENCE) -> Surveyed: ...
def ask(address: str, token: str, request: Request, seconds: float = PATIENCE) -> Reply:
    """Send a request to the controller at ``address``; return its answer.

    Args:
        address: Its socket.
        token: What it wants to be told first.
        request: What is asked for.
        seconds: How long it may take.

    Raises:
        TimeoutError: It does not answer.
        OSError: It is not there any more, or hangs up: it may have done it all the same.
    """
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(seconds)
        peer.connect(address)
        peer.sendall(encode([Hello(PROTOCOL, token, 0, os.getpid())]))
        peer.sendall(encode([request]))
        reader = FrameReader()
        while data := peer.recv(1 << 16):
            for body in reader.feed(data):
                reply: Reply = decode_replies(body)[0]
                return reply
    raise ConnectionResetError("the controller hung up")
