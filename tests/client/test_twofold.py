"""Blocking calls with an awaitable form."""

import asyncio
import threading

import pytest

from perdure.client.twofold import Twofold, twofold


class Thing:
    """With one method."""

    @twofold
    def double(self, n: int) -> int:
        """Return twice n."""
        if n < 0:
            raise ValueError(n)
        return 2 * n


def test_methods_and_functions_have_both_forms():
    assert Thing().double(2) == 4
    assert asyncio.run(Thing().double.aio(2)) == 4
    assert Twofold(len)("abc") == asyncio.run(Twofold(len).aio("abc")) == 3
    assert Thing.double.__doc__ == "Return twice n."


def test_exceptions_arrive_in_the_awaiting_code():
    with pytest.raises(ValueError, match="-1"):
        asyncio.run(Thing().double.aio(-1))


def test_an_abandoned_await_does_not_keep_the_loop_from_closing():
    release = threading.Event()

    async def give_up():
        async with asyncio.timeout(0.01):
            await Twofold(release.wait).aio()

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    release.set()
