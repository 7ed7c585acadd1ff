"""The runs of a controller, and what is told of their ends."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from perdure._core.model import Outcome, Phase, RunOptions, phase_of
from perdure._core.records import RunRow
from perdure._core.state import Run
from perdure._ports import Journal
from perdure.errors import LeaseLostError, StorageError


@dataclass(slots=True)
class Driven:
    """A run this controller drives."""

    run: Run
    row: RunRow
    finishing: "asyncio.Task[None] | None" = None


def at_end(driven: Driven, outcome: Outcome | None) -> RunRow:
    """Return the run as it is now that it has ended, or been interrupted (no outcome)."""
    if outcome is None:
        return msgspec.structs.replace(driven.row, phase=Phase.INTERRUPTED)
    return msgspec.structs.replace(
        driven.row, phase=phase_of(outcome), outcome=outcome, ended=driven.run.ended or time.time()
    )


def of_run(error: BaseException, name: str) -> BaseException:
    """Return the error for those who wait for one of the runs that it stops."""
    if not isinstance(error, StorageError):
        return error
    own = type(error)(error.message, hint=error.hint, run=name)
    own.__cause__ = error.__cause__
    return own


def lost(name: str) -> LeaseLostError:
    """Return the error for those who wait for a run that is driven elsewhere now."""
    return LeaseLostError(
        "another controller has taken the run over",
        run=name,
        hint="wait for it there: the run goes on",
    )


def take_lease(
    journal: Journal, row: RunRow, owner: str, is_alive: Callable[[str], bool]
) -> tuple[int, int]:
    """Take a run's lease, and create the run before if it is new; on the scribe's thread.

    Returns:
        The epoch of the lease, and the last place in the run that is taken.
    """
    is_new = not row.key
    if is_new:
        row.key = journal.create_run(row)
    epoch = journal.acquire(row.key, owner, is_alive)
    return epoch, 0 if is_new else journal.last_seq(row.key)


def options(row: RunRow) -> RunOptions:
    """Return the options that the run was started with."""
    return msgspec.msgpack.decode(row.options, type=RunOptions) if row.options else RunOptions()
