"""``perdure.ctx()``: what a task may know about its own execution."""

from collections.abc import Mapping
from typing import Any, NoReturn

from perdure._api.options import refuse
from perdure._api.scope import Scope, current


class Context:
    """The action that runs here.

    Attributes:
        run: Name of the run.
        action: Id of the action (hex).
        task: Full name of its task.
        attempt_number: 0 for the first attempt.
        is_replay: Whether calls made here may find outcomes recorded by an earlier attempt.
    """

    def __init__(self, scope: Scope) -> None:
        self.run = scope.run
        self.action = scope.action.hex()
        self.task = scope.task
        self.attempt_number = scope.number
        self.is_replay = scope.replay
        self._scope = scope

    @property
    def custom_context(self) -> Mapping[str, Any]:
        """What the run was given as ``custom_context``."""
        return self._scope.custom_context

    @property
    def checkpoint(self) -> NoReturn:
        """Not supported yet."""
        raise refuse("ctx().checkpoint", hint="let traces or child tasks record progress")

    @property
    def report(self) -> NoReturn:
        """Not supported yet."""
        raise refuse("ctx().report", hint="return the report, or write it to a file")

    def __repr__(self) -> str:
        return f"<Context of {self.task}, run {self.run}, attempt {self.attempt_number}>"


def ctx() -> Context | None:
    """Return the context of the action that runs here; None outside any run."""
    scope = current()
    return None if scope is None else Context(scope)


def get_custom_context() -> Mapping[str, Any]:
    """Return what the run was given as ``custom_context``; empty outside any run."""
    scope = current()
    return {} if scope is None else scope.custom_context


def custom_context(**values: str) -> NoReturn:
    """Not supported yet: a context for the calls made inside a block."""
    raise refuse(
        "custom_context(...)", hint="give it to the whole run: with_runcontext(custom_context=...)"
    )
