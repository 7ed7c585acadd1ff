"""What a node has and what is taken: the account that placement is checked against."""

from perdure._core.model import Demand

UNITS = 10_000
"""Cpu is counted in ten-thousandths of a core, so that fractions add up exactly."""


def cpu_units(cores: float) -> int:
    """Return cores as whole units."""
    return round(cores * UNITS)


class Ledger:
    """Resources of one node.

    A parent that goes on after its children may take its share back although others run on it by
    now: the account is then overdrawn, and nothing new is placed until it is not.
    """

    __slots__ = ("capacity", "cpu", "gpu", "memory")

    def __init__(self, capacity: Demand) -> None:
        self.capacity = capacity
        self.cpu = cpu_units(capacity.cpu)
        self.memory = capacity.memory
        self.gpu = capacity.gpu

    def fits(self, demand: Demand) -> bool:
        """Whether the demand can be taken now."""
        return (
            cpu_units(demand.cpu) <= self.cpu
            and (not demand.memory or demand.memory <= self.memory)
            and (not demand.gpu or demand.gpu <= self.gpu)
        )

    def fits_cpu(self, demand: Demand) -> bool:
        """Whether its cpu share can be taken now."""
        return cpu_units(demand.cpu) <= self.cpu

    def room_for(self, demand: Demand) -> int:
        """Return how many attempts of this demand fit now; a large number if it asks nothing."""
        rooms = [1 << 16]
        if demand.cpu:
            rooms.append(self.cpu // cpu_units(demand.cpu))
        if demand.memory:
            rooms.append(self.memory // demand.memory)
        if demand.gpu:
            rooms.append(self.gpu // demand.gpu)
        return max(0, min(rooms))

    def take_cpu(self, demand: Demand) -> None:
        """Take the cpu share."""
        self.cpu -= cpu_units(demand.cpu)

    def give_cpu(self, demand: Demand) -> None:
        """Give the cpu share back."""
        self.cpu += cpu_units(demand.cpu)

    def take_space(self, demand: Demand) -> None:
        """Take memory and devices: what a waiting parent keeps."""
        self.memory -= demand.memory
        self.gpu -= demand.gpu

    def give_space(self, demand: Demand) -> None:
        """Give memory and devices back."""
        self.memory += demand.memory
        self.gpu += demand.gpu

    def shortage(self, demand: Demand) -> str:
        """Return why the demand could never be met, or ""."""
        for name, asked, there in (
            ("cpu", demand.cpu, self.capacity.cpu),
            ("memory", demand.memory, self.capacity.memory),
            ("gpu", demand.gpu, self.capacity.gpu),
        ):
            if asked > there:
                show = _gib if name == "memory" else "{:g}".format
                return f"{name}={show(asked)} was asked for, the largest node has {show(there)}"
        return ""


def _gib(size: float) -> str:
    return f"{size / (1 << 30):,.2f} GiB"
