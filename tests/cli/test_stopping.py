"""Ctrl-C and SIGTERM are noted, and obeyed where nothing is half done."""

import signal

import pytest

from perdure.cli.stopping import Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_obeyed_at_once(number):
    before = signal.getsignal(number)
    ends = []
    with Stop(lambda: ends.append(1)) as stop:
        stop.check()
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            stop.check()
        assert not ends
        signal.raise_signal(number)
        assert ends
    assert signal.getsignal(number) is before
