"""What other processes of the user ask a controller, over the socket that its workers dial.

They say Hello as worker 0. Each request is answered by one message; the framing is that of
``framing.py``.
"""

import msgspec

from perdure._core.model import Outcome
from perdure._core.overview import Overview
from perdure._core.reasons import Link
from perdure._wire.messages import Message


class Abort(Message, tag=1):
    """Stop a run, or one action of it. Answered by Answer."""

    run: str
    action: bytes | None


class Signal(Message, tag=4):
    """The answer to a condition of a run. Answered by Answer, once it is recorded.

    Attributes:
        run: Name of the run.
        action: Id of the condition.
        outcome: The answer.
        by: Who gives it.
    """

    run: str
    action: bytes
    outcome: Outcome
    by: str


class Why(Message, tag=2):
    """What does the root of a run wait for, or one action of it? Answered by Explained."""

    run: str
    action: bytes | None


class Survey(Message, tag=3):
    """What does the controller do? Answered by Surveyed."""


class Answer(Message, tag=10):
    """Answer to Abort or Signal: what was done, or why not."""

    done: bool
    text: str


class Explained(Message, tag=11):
    """Answer to Why.

    Attributes:
        driven: The controller drives the run.
        chain: From the action to what it waits for in the end; empty if it has its outcome, or was
            never called.
        left: How many actions of the run have no recorded outcome.
    """

    driven: bool
    chain: tuple[Link, ...]
    left: int


class Surveyed(Message, tag=12):
    """Answer to Survey."""

    overview: Overview


Request = Abort | Signal | Why | Survey
Reply = Answer | Explained | Surveyed

decode_requests = msgspec.msgpack.Decoder(list[Request]).decode
decode_replies = msgspec.msgpack.Decoder(list[Reply]).decode
