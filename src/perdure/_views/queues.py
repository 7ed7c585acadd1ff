"""Views of queues and of who uses them."""

from perdure._journal.queues import decode_limits, decode_stake
from perdure._views.connections import ReadConnections
from perdure._views.model import QueueRow


class QueueViews:
    """Questions about queues.

    Args:
        db: Connections to the journal.
    """

    def __init__(self, db: ReadConnections) -> None:
        self._db = db

    def all(self) -> list[QueueRow]:
        """Return the queues by name, with all stakes, also of controllers that are gone."""
        stakes: dict[str, list[bytes]] = {}
        for queue, stake in self._db.rows("SELECT queue, stake FROM stakes ORDER BY owner"):
            stakes.setdefault(queue, []).append(stake)
        found = self._db.rows("SELECT name, limits, declared FROM queues ORDER BY name")
        return [
            QueueRow(
                limits=decode_limits(limits),
                declared=declared,
                stakes=[decode_stake(each) for each in stakes.get(name, ())],
            )
            for name, limits, declared in found
        ]

    def runs_of(self, owner: str) -> list[str]:
        """Return the names of the runs that a controller drives, oldest first."""
        found = self._db.rows("SELECT name FROM runs WHERE owner = ? ORDER BY key", owner)
        return [name for (name,) in found]
