"""Answers to conditions: taken from other processes, confirmed once they are recorded."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from perdure._core.outside import ANSWERED, CONDITION
from perdure._core.records import ActionRow
from perdure._core.state import Run
from perdure._wire.requests import Answer, Signal

if TYPE_CHECKING:
    from perdure._controller.controller import Controller

Rows = "asyncio.Future[dict[bytes, ActionRow]]"
Reply = Callable[[Answer], None]

ELSEWHERE = "this process does not drive the run"
LOST = "the answer could not be recorded"


def take_signal(controller: "Controller", signal: Signal, reply: Reply) -> None:
    """Let a signal answer its condition; ``reply`` when that is recorded, or why it is not."""
    run = next((r for r in controller.machine.runs.values() if r.name == signal.run), None)
    if run is None:
        dormant = controller.dormitory.find(signal.run)
        if dormant is None:
            reply(Answer(False, ELSEWHERE))
        else:
            roused = controller.dormitory.rouse_soon(dormant)
            roused.add_done_callback(lambda _: take_signal(controller, signal, reply))
        return
    read = controller.ask(controller.journal.lookup, run.key, [signal.action])
    read.add_done_callback(partial(_decide, controller, run, signal, reply))


def _decide(
    controller: "Controller",
    run: Run,
    signal: Signal,
    reply: Reply,
    read: "asyncio.Future[dict[bytes, ActionRow]]",
) -> None:
    row = None if read.exception() else read.result().get(signal.action)
    if controller.machine.runs.get(run.key) is not run:  # it ended, or was forgotten and roused
        reply(Answer(False, ELSEWHERE))
    elif row is None or row.kind != CONDITION or row.outcome is not None:
        reply(Answer(False, ANSWERED if read.exception() is None else LOST))
    else:
        controller.begin()
        refused = controller.machine.outside.signal(run, row, signal.outcome, signal.by)
        controller.settle()
        if refused:
            reply(Answer(False, refused))
            return
        again = controller.ask(controller.journal.lookup, run.key, [signal.action])
        again.add_done_callback(partial(_confirm, signal, reply))


def _confirm(signal: Signal, reply: Reply, read: "asyncio.Future[dict[bytes, ActionRow]]") -> None:
    """What was asked of the journal after the commit tells whether there was one."""
    row = None if read.exception() else read.result().get(signal.action)
    done = row is not None and row.outcome == signal.outcome
    reply(Answer(done, "" if done else LOST))
