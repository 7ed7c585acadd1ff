"""``perdure top``: what goes on in this home, as it is now, refreshed about once a second."""

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from perdure.cli import exits, render

if TYPE_CHECKING:
    from perdure.client.survey import Picture, Surveyor

_SECONDS = 1.0
_FIRST_SECONDS = 0.2
"""Between two looks; and between the first two, before which nobody knows how busy a process is."""

_ROWS = 40
_QUIT = b"qQ\x03\x04"


@click.command()
@click.option("--once", is_flag=True, help="Print it once, instead of watching it.")
@exits.json_option
def top(once: bool, as_json: bool) -> None:
    """Watch machine, workers, runs and running actions of this home.

    All processes are covered that drive runs in this home. q or Ctrl-C ends it.
    """
    from perdure.cli import dashboard
    from perdure.client.survey import Surveyor

    surveyor = Surveyor()
    with contextlib.suppress(KeyboardInterrupt):
        if as_json:
            exits.print_json(msgspec.to_builtins(_second_look(surveyor), str_keys=True))
        elif once or not render.console().is_terminal:
            render.show(dashboard.drawn(_second_look(surveyor), _ROWS))
        else:
            _watch(surveyor)


def _second_look(surveyor: "Surveyor") -> "Picture":
    surveyor.look()
    time.sleep(_FIRST_SECONDS)
    return surveyor.look()


def _watch(surveyor: "Surveyor") -> None:
    from rich.live import Live

    from perdure.cli import dashboard

    console = render.console()
    with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        pause = _FIRST_SECONDS
        while True:
            began = time.monotonic()
            picture = surveyor.look()
            live.update(dashboard.drawn(picture, console.height), refresh=True)
            # Looking takes a tenth of the time at most, whatever there is to look at.
            if _pressed(max(pause, 9 * (time.monotonic() - began))):
                return
            pause = _SECONDS


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Have keys without Enter, and without showing them."""
    import termios
    import tty

    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _pressed(seconds: float) -> bool:
    """Wait so long; return at once whether a key is pressed that ends it."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return False
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0]:
            keys = os.read(sys.stdin.fileno(), 64)
            if not keys or any(key in _QUIT for key in keys):
                return True
    return False
