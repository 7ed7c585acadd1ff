"""Staying awake between the turns of a conversation.

To be woken costs a process tens of microseconds, on a virtual machine a hundred, and it comes back
to cold caches: more than the work it is woken for takes, when one small message answers another. A
parent that calls one quick child after the other would spend most of its time on waking up. So
whoever has just taken part in such an exchange looks for the next message a little longer before it
sleeps, and gives way to anybody who has something to do on its core meanwhile.

That is worth something only while answers come quickly: after a longer silence nobody lingers until
two messages have followed each other closely again.
"""

import os
import time
from asyncio import AbstractEventLoop

LINGER_SECONDS = 0.0008
"""How long to stay awake: what a short exchange takes, and some more."""

CLOSE_SECONDS = 0.0015
"""Messages that follow each other within this time are a conversation."""

TURNS = 3
"""Of a loop: what a message may need to have its effect. A task's step, and the frame it sends."""

LITTLE = 1024
"""Bytes of a single call or outcome, as opposed to a frame of many."""


class Conversation:
    """Tells from the times of messages whether it is worth staying awake for the next."""

    __slots__ = ("_last", "until")

    def __init__(self) -> None:
        self._last = 0.0
        self.until = 0.0

    def goes_on(self) -> bool:
        """A message has been handled; return whether to stay awake ``until``."""
        before, self._last = self._last, time.perf_counter()
        if self._last - before > CLOSE_SECONDS:
            return False
        self.until = self._last + LINGER_SECONDS
        return True


class LoopConversation:
    """Keeps an event loop from sleeping in the midst of a conversation.

    Args:
        loop: The loop, on whose thread all of this happens.
    """

    __slots__ = ("_awake", "_conversation", "_loop", "_turns")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._conversation = Conversation()
        self._awake = False
        self._turns = 0

    def linger(self) -> None:
        """A message has been handled, and a quick answer to that may come."""
        self._turns = TURNS
        if self._conversation.goes_on() and not self._awake:
            self._awake = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Have the loop look for messages without waiting, until the time is over."""
        self._awake = time.perf_counter() < self._conversation.until
        if self._awake:
            if self._turns:
                self._turns -= 1  # what the message has set off may have its turn after this
            else:
                os.sched_yield()
            self._loop.call_soon(self._look)
