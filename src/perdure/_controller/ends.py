"""The ends of the runs that a controller drives, for whoever waits for one on any thread.

There may be tens of thousands of runs, most of which nobody waits for at the moment: each takes no
more than a small object here.
"""

from perdure._core.records import RunRow
from perdure._pending import Pending


class Ends:
    """Changed on the controller's loop only; other threads look, and wait."""

    def __init__(self) -> None:
        self._ends: dict[str, Pending[RunRow]] = {}

    def of(self, name: str) -> Pending[RunRow] | None:
        """Return the end of a run that is driven, or could not be driven to its end."""
        return self._ends.get(name)

    def is_awaited(self, name: str) -> bool:
        """Whether the run is driven, and has not ended."""
        end = self._ends.get(name)
        return end is not None and not end.is_done

    def unfinished(self) -> list[str]:
        """Return the names of the runs that are driven and have not ended."""
        return [name for name, end in list(self._ends.items()) if not end.is_done]

    def expect(self, name: str) -> None:
        """The run is driven from now on, if it was not already."""
        if not self.is_awaited(name):
            self._ends[name] = Pending()

    def tell(self, row: RunRow) -> None:
        """The run has ended, or was interrupted; from now on the journal tells of it."""
        if self.is_awaited(row.name):
            self._ends.pop(row.name).succeed(row)

    def fail(self, name: str, error: BaseException) -> None:
        """The run cannot be driven on, and the journal does not tell why."""
        if self.is_awaited(name):
            self._ends[name].fail(error)
