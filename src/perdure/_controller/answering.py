"""What the controller answers to other processes of the user."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from perdure._controller.signals import take_signal
from perdure._core.explaining import explain
from perdure._core.overview import overview
from perdure._wire.requests import (
    Abort,
    Answer,
    Explained,
    Reply,
    Request,
    Signal,
    Survey,
    Surveyed,
    Why,
)

if TYPE_CHECKING:
    from perdure._controller.controller import Controller


def answer(controller: "Controller", request: Request, reply: Callable[[Reply], None]) -> None:
    """Do or find out what is asked for, and ``reply``: at once, unless it has to be recorded."""
    match request:
        case Abort(run, action):
            reply(Answer(*controller.abort(run, action)))
        case Signal():
            take_signal(controller, request, reply)
        case Why(run, action):
            reply(_explained(controller, run, action))
        case Survey():
            pids, dormant = controller.crew.pids(), len(controller.dormitory)
            reply(Surveyed(overview(controller.machine, pids, dormant)))


def _explained(controller: "Controller", name: str, action: bytes | None) -> Explained:
    machine = controller.machine
    run = next((run for run in machine.runs.values() if run.name == name), None)
    if run is None:
        dormant = controller.dormitory.find(name)
        if dormant is None:
            return Explained(driven=False, chain=(), left=0)
        return Explained(driven=True, chain=(dormant.explained(machine),), left=dormant.left)
    target = run.actions.get(run.root if action is None else action)
    chain = explain(machine, target, controller.crew.pids()) if target is not None else ()
    return Explained(driven=True, chain=chain, left=len(run.actions))
