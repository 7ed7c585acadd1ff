"""What all live controllers of a home do, and what their workers use."""

import contextlib
import time

import msgspec

from perdure._controller import presence
from perdure._core.overview import Overview
from perdure._wire.asking import ask
from perdure._wire.requests import Survey
from perdure.client import link
from perdure.client.measuring import MachineUse, Meter, Use

PATIENCE_SECONDS = 1.0
"""How long a controller may take to answer, or what it does is not shown this time."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A live controller.

    Attributes:
        pid: Its process.
        since: When that started it, in wall-clock seconds.
        overview: What it does; None if it has not answered in time.
    """

    pid: int
    since: float
    overview: Overview | None


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on in a home.

    Attributes:
        home: Its folder.
        at: When, in wall-clock seconds.
        machine: What all processes use.
        controllers: The live ones, oldest first.
        uses: What worker processes use.
    """

    home: str
    at: float
    machine: MachineUse
    controllers: tuple[Seen, ...]
    uses: dict[int, Use]


class Surveyor:
    """Looks again and again."""

    def __init__(self) -> None:
        self._meter = Meter()

    def look(self) -> Picture:
        """Return what goes on now; how busy processes are is known from the second time on."""
        config = link.config().checked()
        found = []
        for name, since in sorted(presence.starts(config.controllers).items(), key=_since):
            peer = presence.contact(config.controllers, name)
            if peer is not None:
                overview = _overview(peer)
                found.append(Seen(pid=peer.pid, since=since, overview=overview))
        pids = {pid for each in found if each.overview for pid in each.overview.pids}
        return Picture(
            home=str(config.home),
            at=time.time(),
            machine=self._meter.machine(),
            controllers=tuple(found),
            uses=self._meter.processes(pids),
        )


def _since(controller: tuple[str, float]) -> tuple[float, str]:
    return controller[1], controller[0]


def _overview(peer: presence.Contact) -> Overview | None:
    with contextlib.suppress(OSError):
        return ask(peer.address, peer.token, Survey(), PATIENCE_SECONDS).overview
    return None
