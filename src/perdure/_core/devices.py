"""Which GPUs belong to which workers.

A worker process sees its devices from its start to its end: what it has put there (contexts,
weights) goes with the process only. So devices are given to workers, not to attempts, and are free
again when the process is gone. Whole devices belong to one worker; shares of a device are packed
on as few devices as can be.
"""

from collections.abc import Iterable

from perdure._core.ledger import UNITS, units
from perdure._core.model import Demand, Device


class Devices:
    """The GPUs of one node.

    Attributes:
        left: Units that nobody has, by place in ``devices``.
    """

    __slots__ = ("devices", "left")

    def __init__(self, devices: tuple[Device, ...]) -> None:
        self.devices = devices
        self.left = [UNITS] * len(devices)

    def find(
        self, gpu: float, kind: str, freed: Iterable[tuple[tuple[int, ...], float]] = ()
    ) -> tuple[int, ...] | None:
        """Return devices that could be given, or None.

        Args:
            gpu: How many; or a share of one.
            kind: Of which kind; "": of any.
            freed: What was given away, as for :meth:`give`, and is to be thought of as free.
        """
        left = list(self.left)
        for places, had in freed:
            for place in places:
                left[place] += amount_of(had)
        able = [place for place, device in enumerate(self.devices) if is_kind(device.kind, kind)]
        if gpu < 1:
            asked = units(gpu)
            fitting = [(left[place], place) for place in able if left[place] >= asked]
            return (min(fitting)[1],) if fitting else None
        whole = [place for place in able if left[place] == UNITS]
        return tuple(whole[: int(gpu)]) if len(whole) >= gpu else None

    def take(self, places: tuple[int, ...], gpu: float) -> None:
        """Give the devices at these places away."""
        for place in places:
            self.left[place] -= amount_of(gpu)

    def give(self, places: tuple[int, ...], gpu: float) -> None:
        """They are free again."""
        for place in places:
            self.left[place] += amount_of(gpu)

    def shortage(self, demand: Demand, kept: Iterable[tuple[float, str]] = ()) -> str:
        """Return why the demand could never be met beside what others keep, or ""."""
        node = Devices(self.devices)
        for gpu, kind in kept:
            found = node.find(gpu, kind)
            if found is not None:
                node.take(found, gpu)
        if not demand.gpu or node.find(demand.gpu, demand.device) is not None:
            return ""
        asked = f"gpu={demand.device}:{demand.gpu:g}" if demand.device else f"gpu={demand.gpu:g}"
        there = f"{len(self.devices)}"
        if kinds := sorted({device.kind for device in self.devices if device.kind}):
            there = f"{there} ({', '.join(kinds)})"
        if kept:
            return f"{asked} was asked for; the parents that wait for it keep theirs of {there}"
        return f"{asked} was asked for, the largest node has {there}"


def amount_of(gpu: float) -> int:
    """Return how much of each of its devices a worker has."""
    return units(gpu) if gpu < 1 else UNITS


def is_kind(kind: str, wanted: str) -> bool:
    """Whether a device is of the kind that is wanted: ``A100`` is, of ``NVIDIA A100-SXM4-40GB``."""
    return set(_words(wanted)) <= set(_words(kind))


def _words(kind: str) -> list[str]:
    """Return the parts of a kind's name; ``80G`` and ``80GB`` are the same."""
    parts = kind.upper().replace("_", " ").replace("-", " ").split()
    return [f"{part}B" if part[:-1].isdigit() and part.endswith("G") else part for part in parts]
