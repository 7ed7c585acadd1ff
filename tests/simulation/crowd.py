"""Runs beside that of the world in its queue, of which only what they do to it is to be seen."""

from typing import TYPE_CHECKING

from perdure._core.parking import keep_place
from perdure._core.queues import Entrant
from perdure._core.state import Action, Run

if TYPE_CHECKING:
    from simulation.shell import Shell


class Crowd:
    """Runs that are asleep. Who is admitted has the slot for a while; some get lost."""

    def __init__(self, shell: "Shell") -> None:
        self.shell, self.rng = shell, shell.world.rng
        queue = shell.run.queue
        assert queue is not None
        self.queue = queue
        for index in range(shell.world.crowd):
            run = Run(key=-index, name=f"other {index}", epoch=1, queue=queue)
            run.priority = self.rng.choice((-1, 0, 0, 0, 1))
            queue.enter(Action(b"", run, None, "", "task", created=0.0, index=index))
            keep_place(run)
        shell.machine.scheduler.queues.use(queue)

    def summoned(self, place: Entrant) -> None:
        """It is to be taken up: now, or ahead of its turn."""
        if place in self.queue.summoned or self.rng.random() < 0.2:
            due = self.shell.world.now + self.rng.uniform(0.0, 0.02)
            self.shell.at(due, lambda: self.queue.abandon(place))
