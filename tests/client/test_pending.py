"""Waiting for another thread is safe against Ctrl-C at any step."""

import asyncio
import sys
import threading

import pytest

from perdure._pending import Pending, call

PATIENCE = 60.0


class Struck(BaseException):
    """Stands for KeyboardInterrupt, which pytest would take for its own."""


def strike_at(step):
    """Return a trace function that raises at that step of what is called below."""
    left = [step]

    def trace(frame, event, argument):
        if "_pending" not in frame.f_code.co_filename:
            return None
        left[0] -= 1
        if left[0] < 0:
            raise Struck
        return trace

    return trace


def again_and_again(work):
    while True:
        work()


def on_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("step", range(12))
def test_whoever_tells_is_not_held_up_wherever_the_one_that_waits_is_struck(step):
    pending = Pending()
    before = sys.gettrace()
    sys.settrace(strike_at(step))
    try:
        with pytest.raises(Struck):
            again_and_again(lambda: pending.wait(0.0001))
    finally:
        sys.settrace(before)
    on_thread(lambda: pending.succeed("told"))
    assert pending.result() == "told"


def test_others_get_the_result_although_one_that_came_through_the_gate_did_not_open_it_again():
    pending = Pending()
    fetched = []
    thread = threading.Thread(target=lambda: fetched.append(pending.result()), daemon=True)
    thread.start()
    pending.succeed("told")
    pending._gate.acquire(timeout=0)  # whether the thread has come through before or not
    thread.join(PATIENCE)
    assert fetched == ["told"]


def test_a_wait_can_end_without_a_result():
    pending = Pending()
    assert not pending.wait(0.001)
    pending.fail(KeyError("x"))
    assert pending.wait(0)
    with pytest.raises(KeyError):
        pending.result()


def test_a_coroutine_is_executed_by_the_loop_of_another_thread():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def where():
        return threading.get_ident()

    async def fail():
        raise KeyError("x")

    try:
        assert call(loop, where()) == thread.ident
        with pytest.raises(KeyError):
            call(loop, fail())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        call(loop, where())
