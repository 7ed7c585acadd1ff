"""Views of the values that are kept for all runs."""

from perdure._journal.cache import decode_marks
from perdure._journal.rows import decode_origin
from perdure._views.connections import ReadConnections
from perdure._views.model import CachedTask, CachedValue


class CacheViews:
    """Questions about kept values.

    Args:
        db: Connections to the journal.
    """

    def __init__(self, db: ReadConnections) -> None:
        self._db = db

    def values(self, task: str, before: float, limit: int) -> list[CachedValue]:
        """Return what is kept of a task, newest first.

        Args:
            task: Full name.
            before: Only what was made before this moment.
            limit: At most so many.
        """
        found = self._db.rows(
            "SELECT key, created, origin, facts, inputs FROM cache "
            "WHERE task = ? AND created < ? ORDER BY created DESC LIMIT ?",
            task,
            before,
            limit,
        )
        return [
            CachedValue(
                key=key,
                created=created,
                origin=made,
                facts=facts,
                inputs=decode_marks(inputs),
            )
            for key, created, origin, facts, inputs in found
            if (made := decode_origin(origin))  # as in every row
        ]

    def tasks(self) -> list[CachedTask]:
        """Return of which tasks values are kept, and how many, by name."""
        found = self._db.rows(
            "SELECT task, count(*), min(created), max(created) FROM cache GROUP BY task"
        )
        return [
            CachedTask(task=task, values=values, oldest=oldest, newest=newest)
            for task, values, oldest, newest in found
        ]
