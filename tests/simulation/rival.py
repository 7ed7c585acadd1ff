"""Another controller of the same journal, of which only what it does to queues is to be seen."""

from typing import TYPE_CHECKING

from perdure._core.sharing import Ask
from simulation.programs import QUEUES

if TYPE_CHECKING:
    from simulation.world import World


class Rival:
    """Asks for slots and starts, uses them for a while, dies now and then, and is born again.

    Attributes:
        name: Its name in this life.
        used: Slots in use, by queue.
    """

    def __init__(self, world: "World", until: float) -> None:
        self.world = world
        self.until = until
        self._lives = 0
        self.be_born()
        world.at(world.now, self.act)

    def be_born(self) -> None:
        """Begin anew, with another name, knowing nothing."""
        self._lives += 1
        self.name = f"rival {self._lives}"
        self.used = {limits.name: 0 for limits in QUEUES}
        self._untold: dict[str, list[tuple[float, int]]] = {limits.name: [] for limits in QUEUES}

    def act(self) -> None:
        """Do something with one of the queues; in the end, leave them all."""
        world, rng = self.world, self.world.rng
        over = world.now >= self.until
        for limits in QUEUES if over else [rng.choice(QUEUES)]:
            name = limits.name
            self.used[name] = 0 if over else rng.randrange(self.used[name] + 1)
            wish = 0 if over else rng.randrange(4)
            untold, self._untold[name] = tuple(self._untold[name]), []
            wanted = self.used[name] + wish
            ask = Ask(name, self.used[name], wanted, wish, untold, wish, rng.randrange(2))
            (grant,) = world.journal.queues.share(self.name, [ask], world.now, world.lives)
            more = min(wanted, grant.held, grant.allowed) - self.used[name]
            more = max(0, min(more, grant.tokens) if limits.starts else more)
            self.used[name] += more
            self._untold[name] += [(world.now, more)] * bool(more)
            world.starts[name] += [world.now] * more
            world.check_queues()
        if rng.random() < 0.05:
            self.be_born()
        if not over:
            world.at(world.now + rng.choice((0.002, 0.03, 0.2)), self.act)
