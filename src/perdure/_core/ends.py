"""Why workers are gone."""

from perdure._core.model import Failure


class WorkerEnd:
    """Why a worker is gone, in the terms that matter to what it executed.

    Attributes:
        guilty: What it was running brought it down (a crash, an exit), not somebody's kill.
        failure: What to say of it. Its ``memory`` is set if it was killed for using too much.
        final: It could not start, and neither will another one in its place.
    """

    __slots__ = ("failure", "final", "guilty")

    def __init__(self, failure: Failure, *, guilty: bool, final: bool = False) -> None:
        self.failure = failure
        self.guilty = guilty
        self.final = final
