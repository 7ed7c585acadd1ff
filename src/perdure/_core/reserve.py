"""What older work waits for, and younger work must leave alone.

Whoever cannot be placed has what there is of its request set aside while younger work is placed, so
that it adds up until there is enough, however many small requests come by. Nobody younger may touch
what is lacking, not even behind an attempt that has it already: it would be held for ever.

An action that lacks memory, devices or the like does not hold cores in the meantime: others compute
with them. Once the rest is there it stays set aside until there are cores, too.
"""

from perdure._core.ledger import Ledger, Space
from perdure._core.state import Lane


class Reserve:
    """What is set aside during one placement.

    Attributes:
        wanted: Names of what is lacking.
    """

    __slots__ = ("_cpu", "_ledger", "_space", "wanted")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._cpu = 0
        self._space: list[Space] = []
        self.wanted: set[str] = set()

    def leaves(self, lane: Lane) -> bool:
        """Whether the lane may have what it asks for, as far as there is enough."""
        return not self.wanted or self.wanted.isdisjoint(lane.share.names)

    def keep(self, lane: Lane, lacking: set[str]) -> None:
        """Set aside what there is of the lane's request, of which so much is lacking."""
        self.wanted |= lacking
        ledger, share = self._ledger, lane.share
        if "gpu" in share.names:
            self.wanted.add("gpu")  # devices are no amounts: nobody younger gets any
        space = tuple((name, min(amount, ledger.space[name])) for name, amount in share.space)
        ledger.take_space(space)
        self._space.append(space)
        if "cpu" in lacking:
            cpu = min(share.cpu, ledger.cpu)
            ledger.take_cpu(cpu)
            self._cpu += cpu

    @property
    def is_kept(self) -> bool:
        """Whether anything is set aside for anybody."""
        return bool(self._space)

    def give_back(self) -> None:
        """The placement is over."""
        self._ledger.give_cpu(self._cpu)
        for space in self._space:
            self._ledger.give_space(space)
