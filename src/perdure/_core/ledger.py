"""What a node has and what is taken: the account that placement is checked against.

Cpu is one thing, *space* another: memory, disk, whatever was declared. A parent that waits gives
its cpu back and keeps its space. The account is never overdrawn.
"""

from perdure._core.model import Capacity, Demand

UNITS = 10_000
"""Cpu, devices and custom resources are counted in ten-thousandths, so that fractions add up."""

Space = tuple[tuple[str, int], ...]
"""Amounts by name, in bytes or units; only what is more than nothing."""


def units(amount: float) -> int:
    """Return an amount as whole units."""
    return round(amount * UNITS)


def space_of(what: Demand | Capacity) -> Space:
    """Return all but cpu and devices."""
    bytes_ = (("memory", what.memory), ("disk", what.disk), ("shm", what.shm))
    custom = tuple((name, units(amount)) for name, amount in what.custom)
    return tuple((name, amount) for name, amount in (*bytes_, *custom) if amount)


class Share:
    """A demand as the ledger counts it.

    Attributes:
        cpu: Units of cpu.
        space: What else it takes.
        names: Of all it takes, devices included.
    """

    __slots__ = ("cpu", "names", "space")

    def __init__(self, demand: Demand) -> None:
        self.cpu = units(demand.cpu)
        self.space = space_of(demand)
        names = [name for name, _ in self.space]
        self.names = frozenset(names + ["cpu"] * bool(self.cpu) + ["gpu"] * bool(demand.gpu))


class Ledger:
    """Resources of one node, its devices aside.

    Attributes:
        cpu: Units of cpu that are left.
        space: What else is left, by name.
    """

    __slots__ = ("capacity", "cpu", "space")

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.cpu = units(capacity.cpu)
        self.space = dict(space_of(capacity))

    def fits(self, share: Share) -> bool:
        """Whether the share can be taken now."""
        return share.cpu <= self.cpu and (not share.space or self.fits_space(share.space))

    def fits_space(self, space: Space) -> bool:
        """Whether that much is left of everything but cpu."""
        left = self.space
        return all(amount <= left.get(name, 0) for name, amount in space)

    def lacking(self, share: Share) -> set[str]:
        """Return the names of what there is too little of, cpu aside."""
        return {name for name, amount in share.space if amount > self.space.get(name, 0)}

    def room_for(self, share: Share) -> int:
        """Return how many such shares fit now; a large number if it is nothing."""
        rooms = [1 << 16]
        if share.cpu:
            rooms.append(self.cpu // share.cpu)
        rooms += [self.space.get(name, 0) // amount for name, amount in share.space]
        return min(rooms)

    def take_cpu(self, amount: int) -> None:
        """Take units of cpu."""
        self.cpu -= amount

    def give_cpu(self, amount: int) -> None:
        """Give units of cpu back."""
        self.cpu += amount

    def take_space(self, space: Space) -> None:
        """Take what a waiting parent keeps."""
        for name, amount in space:
            self.space[name] -= amount

    def give_space(self, space: Space) -> None:
        """Give it back."""
        for name, amount in space:
            self.space[name] += amount

    def shortage(self, demand: Demand) -> str:
        """Return why the demand could never be met, devices aside, or ""."""
        if demand.cpu > self.capacity.cpu:
            return f"cpu={demand.cpu:g} was asked for, the largest node has {self.capacity.cpu:g}"
        there = dict(space_of(self.capacity))
        for name, asked in space_of(demand):
            if asked > there.get(name, 0):
                has = shown(name, there.get(name, 0))
                text = f"{name}={shown(name, asked)} was asked for, the largest node has {has}"
                known = name in (*_BYTES, *dict(self.capacity.custom))
                return text if known else f"{text}: it is not declared in PERDURE_RESOURCES"
        return ""

    def nested_shortage(self, demand: Demand, kept: dict[str, int]) -> str:
        """Return why it could not be met beside what its waiting parents keep, or ""."""
        there = dict(space_of(self.capacity))
        for name, asked in space_of(demand):
            if asked + kept.get(name, 0) > there.get(name, 0):
                return (
                    f"{name}={shown(name, asked)} was asked for; the parents that wait for it keep "
                    f"{shown(name, kept[name])} of the {shown(name, there.get(name, 0))} there are"
                )
        return ""


_BYTES = ("memory", "disk", "shm")


def shown(name: str, amount: int) -> str:
    """Return an amount for people."""
    if name not in _BYTES:
        return f"{amount / UNITS:g}"
    return f"{amount / (1 << 30):,.2f} GiB"
