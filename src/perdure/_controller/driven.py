"""The runs of a controller, and how whoever waits for one is told of its end."""

import asyncio
import time
from dataclasses import dataclass

import msgspec

from perdure._core.model import Outcome, Phase, RunOptions, phase_of
from perdure._core.records import RunRow
from perdure._core.state import Run
from perdure.errors import StorageError


@dataclass(slots=True)
class Driven:
    """A run this controller drives, and whoever waits for its end."""

    run: Run
    ended: "asyncio.Future[RunRow]"
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


def options(row: RunRow) -> RunOptions:
    """Return the options that the run was started with."""
    return msgspec.msgpack.decode(row.options, type=RunOptions) if row.options else RunOptions()
