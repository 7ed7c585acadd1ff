"""``perdure.ctx()``: what a task may know about its own execution."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from perdure import _serde
from perdure._api.resources import refuse
from perdure._api.scope import Scope, current
from perdure._api.starting import State, state_being_filled
from perdure._secrets import masking
from perdure.config import checkpoint_path
from perdure.errors import ConfigurationError

if TYPE_CHECKING:
    from perdure._api.checkpoint import Checkpoint
    from perdure._api.report import Report

_changed: ContextVar[tuple[Scope, Mapping[str, str]] | None] = ContextVar(
    "perdure_custom_context", default=None
)
_NOT_BUILT = frozenset({
    "code_bundle", "compiled_image_cache", "data", "disable_run_cache",
    "group_data", "input_path", "output_path", "rank", "raw_data_path", "run_base_dir",
    "version", "world_size",
})  # fmt: skip


class ActionName(str):
    """Id of an action (hex).

    Attributes:
        run_name: Name of its run.
    """

    __slots__ = ("run_name",)
    run_name: str

    @property
    def name(self) -> str:
        """The id itself."""
        return str(self)


class Context:
    """The action that runs here.

    Attributes:
        run: Name of the run.
        action: Id of the action (hex), with ``.name`` and ``.run_name`` as in Flyte 2.
        task: Full name of its task.
        attempt_number: 0 for the first attempt.
        is_replay: Whether calls made here may find outcomes recorded by an earlier attempt.
        mode: Always ``"local"``: on this machine.
        devices: Names of the GPUs that it may use, as in ``CUDA_VISIBLE_DEVICES``.
    """

    mode = "local"

    def __init__(self, scope: Scope) -> None:
        self.run = scope.run
        self.action = ActionName(scope.action.hex())
        self.action.run_name = scope.run
        self.task = scope.task
        self.attempt_number = scope.number
        self.is_replay = scope.replay
        self.devices = scope.devices
        self._scope = scope

    @property
    def run_start_time(self) -> datetime:
        """When the run was asked for (UTC): the same in all its attempts, also when it resumes."""
        return datetime.fromtimestamp(self._scope.run_created, UTC)

    @property
    def checkpoint(self) -> "Checkpoint":
        """What this action keeps for its next attempt."""
        from perdure._api.checkpoint import Checkpoint

        scope = self._scope
        folder = checkpoint_path(scope.home, scope.run, scope.action)
        return Checkpoint(folder, sync=scope.sync)

    @property
    def report(self) -> "Report":
        """The report of this action."""
        from perdure._api.report import report_of

        return report_of(self._scope)

    @property
    def state(self) -> Any:
        """What the function decorated with ``@env.on_start`` has made in this process.

        That is what it has returned, or if that is None, what it has put into
        ``perdure.ctx().state``, by name: ``state.model`` and ``state["model"]`` are the same.

        Raises:
            ConfigurationError: The environment has no such function.
        """
        return self._scope.state

    @property
    def custom_context(self) -> Mapping[str, str]:
        """What the run was given as ``custom_context``, changed by :func:`custom_context`."""
        return get_custom_context()

    def is_in_cluster(self) -> bool:
        """Return False: the task runs on this machine."""
        return False

    def __getattr__(self, name: str) -> NoReturn:
        if name in _NOT_BUILT:
            raise refuse(f"ctx().{name}", hint="leave it out")
        raise AttributeError(f"the context of an action has no {name!r}")

    def __repr__(self) -> str:
        return f"<Context of {self.task}, run {self.run}, attempt {self.attempt_number}>"


class StartingContext(Context):
    """What ``perdure.ctx()`` is in a start-up hook: there is no action yet."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def state(self) -> State:
        """What the tasks of the environment will find in ``perdure.ctx().state``."""
        return self._state

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"ctx().{name} is of actions: a start-up hook has ctx().state only")

    def __repr__(self) -> str:
        return "<Context of a worker that is being started up>"


def ctx() -> Context | None:
    """Return the context of the action that runs here; None outside any run.

    In a start-up hook it has a ``state`` to be filled, and nothing else.
    """
    state = state_being_filled()
    if state is not None:
        return StartingContext(state)
    scope = current()
    return None if scope is None else Context(scope)


def get_custom_context() -> Mapping[str, str]:
    """Return the custom context that holds here; empty outside any run."""
    scope = current()
    if scope is None:
        return {}
    return _changes(scope) or scope.custom_context


@contextmanager
def custom_context(**values: str) -> Iterator[None]:
    """Give tasks called inside the block these strings in their ``ctx().custom_context``.

    They are added to those that hold outside it, and go on to whatever those tasks call. They are
    no part of any identity. Outside any run the block changes nothing; give
    ``with_runcontext(custom_context=...)`` to a run as a whole.
    """
    for name, value in values.items():
        if not isinstance(value, str):
            raise ConfigurationError(
                f"custom_context: {name} is {value!r}, not a string",
                hint=f"custom_context({name}={str(value)!r})",
            )
    scope = current()
    if scope is None:
        yield
        return
    token = _changed.set((scope, {**get_custom_context(), **values}))
    try:
        yield
    finally:
        _changed.reset(token)


def changed_context(scope: Scope) -> bytes:
    """Return the encoded custom context for calls made here; b"" if it is the caller's own."""
    changes = _changes(scope)
    if not changes:
        return b""
    data = _serde.dumps(changes, scope.blobs).data
    masking.refuse("the custom context", data)
    return data


def _changes(scope: Scope) -> Mapping[str, str] | None:
    # An attempt may be started from inside another one's block.
    held = _changed.get()
    return held[1] if held is not None and held[0] is scope else None
