"""``perdure debug``: one action of a run once more, in this process, under pdb."""

import pdb
import sys
import traceback
from types import CodeType, FrameType
from typing import Any

import click

from perdure._core.model import Outcome
from perdure.cli import exits, report
from perdure.client import link


@click.command()
@click.argument("name")
@click.argument("action")
@click.pass_context
def debug(ctx: click.Context, name: str, action: str) -> None:
    """Execute one action again in the debugger, with its recorded inputs and code.

    ACTION is a number that `perdure show` tells, such as 12, or the beginning of an id. Calls it
    makes are answered from the record; what is not recorded is executed here. Nothing is recorded.
    An action whose image has an environment of its own is executed in that.
    """
    from perdure.client.rehearsal import rehearse

    row = link.get(name)
    found = link.action(row, action)
    rehearsal = rehearse(row, found, lambda text: click.echo(text, err=True))
    _say(f"{found.summary.task} #{found.summary.seq} of {name}, with recorded inputs and code")
    _say(f"recorded: {_recorded(found.outcome)}")
    debugger, results = _Debugger(rehearsal.code), list[Any]()
    try:
        debugger.runcall(lambda: results.append(rehearsal.execute()))
    except Exception as error:
        traceback.print_exception(_user_frames(error))
        debugger.reset()
        debugger.interaction(None, error.__traceback__)
        ctx.exit(exits.FAILED)
    if results:  # otherwise somebody has quit
        _say(f"returned: {results[0]!r}")


def _say(text: str) -> None:
    click.echo(f"perdure: {text}")
    sys.stdout.flush()


def _recorded(outcome: Outcome | None) -> str:
    if outcome is None:
        return "no outcome"
    if outcome.failure is not None:
        return report.error_line(outcome.failure)
    return report.preview(outcome.value or b"")


def _user_frames(error: Exception) -> Exception:
    """Return the error with a traceback that begins in the action's function."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame):
        frames = frames.tb_next
    return error.with_traceback(frames or error.__traceback__)


def _is_ours(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__"))
    return module.partition(".")[0] in ("perdure", "asyncio", "bdb", "pdb")


class _Debugger(pdb.Pdb):
    """Stops first at the first line of one function, whoever calls it."""

    def __init__(self, first: CodeType) -> None:
        super().__init__(skip=["perdure.*", "asyncio.*"], nosigint=True)
        self._first: CodeType | None = first

    def stop_here(self, frame: FrameType) -> bool:
        """Whether to stop in this frame."""
        if self._first is not None:
            return frame.f_code is self._first
        return super().stop_here(frame)

    def user_call(self, frame: FrameType, argument_list: Any) -> None:
        """Do not stop at the call itself: the line that follows is close enough."""
        if self._first is None:
            super().user_call(frame, argument_list)

    def user_line(self, frame: FrameType) -> None:
        """Stop at a line; from the first one on, where the user says."""
        self._first = None
        super().user_line(frame)
