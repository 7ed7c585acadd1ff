"""Starting runs: ``run``, ``with_runcontext``, ``resume``; and finding them again."""

import contextlib
import sys
import time
from collections.abc import Mapping
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any

from perdure._core.model import Bundle, Phase
from perdure._modules import LOADED_MAIN, MAIN
from perdure._ports import RunRow
from perdure.client import attaching, link
from perdure.client.context import RunContext, with_flyte_options
from perdure.client.handle import Run
from perdure.client.naming import new_name
from perdure.client.queues import declare
from perdure.client.twofold import Twofold, twofold
from perdure.errors import ConfigurationError, NotSupportedError, RunConflictError

if TYPE_CHECKING:
    from perdure._api.queue import Queue
    from perdure._api.task import Task


class Runner:
    """Starts runs with options; made by :func:`with_runcontext`."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    @twofold
    def run(self, task: "Task[..., Any]", *args: Any, **kwargs: Any) -> Run:
        """Start ``task`` with these arguments, or attach to the run that has the name.

        Raises:
            TypeCheckError: An argument does not fit its type hint.
            RunConflictError: The name belongs to another task or other inputs.
        """
        return _start(task, args, kwargs, self._context)

    def __repr__(self) -> str:
        return f"<Runner {self._context}>"


def _run(task: "Task[..., Any]", *args: Any, **kwargs: Any) -> Run:
    """Start a run of ``task`` and return its handle at once.

    Args:
        task: A task; its arguments follow.
        *args: Positional arguments of the task.
        **kwargs: Keyword arguments of the task. Besides: ``queue``, a :class:`Queue` or its name,
            which admits the run, and ``priority``: higher goes first. A parameter of the task with
            such a name gets the argument; then :func:`with_runcontext` takes the option.

    Raises:
        TypeCheckError: An argument does not fit its type hint.
        QueueNotFoundError: Nobody has declared the queue.
        QueueFullError: As many runs wait there as may.
        ConfigurationError: ``task`` is not a task, or this is itself inside an action.
    """
    options = _run_options(task, kwargs)
    return _start(task, args, kwargs, _context(**options))


def _run_options(task: "Task[..., Any]", kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take the run's own options out of the arguments, where the task does not have them."""
    asked = [name for name in ("queue", "priority") if name in kwargs]
    if not asked or not hasattr(task, "signature"):
        return {}
    parameters = task.signature.parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return {}
    taken = {each.name for each in parameters}
    return {name: kwargs.pop(name) for name in asked if name not in taken}


def _context(*, queue: "str | Queue | None" = None, priority: int = 0) -> RunContext:
    from perdure._api.queue import queue_name

    return RunContext(queue=queue_name(queue), priority=priority)


def with_runcontext(
    mode: str | None = None,
    *,
    name: str | None = None,
    overwrite_cache: bool = False,
    disable_run_cache: bool = False,
    env_vars: Mapping[str, str] | None = None,
    durability: str | None = None,
    engine: str | None = None,
    custom_context: Mapping[str, str] | None = None,
    strict: bool = False,
    queue: "str | Queue | None" = None,
    priority: int = 0,
    **flyte_options: Any,
) -> Runner:
    """Return a runner with options: ``perdure.with_runcontext(name="nightly").run(main)``.

    Args:
        mode: ``"local"`` or None: runs are on this machine.
        name: Name of the run. Under a name that exists the runner attaches: it gives the result
            of a finished run and resumes an interrupted one.
        overwrite_cache: Cached tasks run anew, and their results replace those that are kept.
        disable_run_cache: The cache is left alone: nothing is taken from it, and nothing is kept.
        env_vars: Environment variables for every worker process of the run.
        durability: ``"full"`` or ``"process"``, for all runs of this process.
        engine: ``"local"`` or None.
        custom_context: Strings that every action of the run finds in ``ctx().custom_context``.
        strict: Refuse to go on with a run whose code has changed, and to run tasks without what of
            their images only containers have, instead of warning.
        queue: A :class:`Queue`, or the name of one, which admits the run: from its first attempt to
            its end it has one of the queue's slots.
        priority: Of two runs, the work of the one with the higher priority goes first.
        **flyte_options: Options that Flyte 2 has and this version lacks are refused by name.

    Raises:
        NotSupportedError: A known option that this version does not honour.
        ConfigurationError: An option that does not exist or makes no sense.
    """
    from perdure._api.queue import queue_name

    with_flyte_options(flyte_options)
    return Runner(
        RunContext(
            mode=mode,
            name=name,
            overwrite_cache=overwrite_cache,
            disable_run_cache=disable_run_cache,
            env_vars=dict(env_vars or {}),
            durability=durability,
            engine=engine,
            custom_context=dict(custom_context or {}),
            strict=strict,
            queue=queue_name(queue),
            priority=priority,
        )
    )


def _resume(name: str, *, strict: bool = False) -> Run:
    """Go on with a run: what it finished is kept, what failed is tried again.

    Args:
        name: Name of the run. A succeeded run is returned as it is.
        strict: Raise instead of warning if the code has changed since the run started.

    Raises:
        RunNotFoundError: There is no such run.
        ReplayDivergedError: The code has changed, and ``strict`` is set.
    """
    refuse_inside_action("resume")
    attaching.go_on(link.get(name), retry_failed=True, strict=strict)
    return Run(name)


def runs(phase: str | None = None, task: str | None = None, limit: int = 100) -> list[Run]:
    """Return handles of the runs in this home, newest first.

    Args:
        phase: Only runs in this phase.
        task: Only runs of this root task, by full name.
        limit: At most so many.
    """
    wanted = None if phase is None else checked_phase(phase)
    return [Run(row.name) for row in islice(link.listed(wanted, task), limit)]


def checked_phase(phase: str) -> Phase:
    """Return the phase of that name.

    Raises:
        ConfigurationError: There is no such phase.
    """
    known = {each.value: each for each in Phase if each is not Phase.CACHED}  # that is for actions
    if phase not in known:
        raise ConfigurationError(f"there is no phase {phase!r}", hint=f"one of {', '.join(known)}")
    return known[phase]


def _start(
    task: "Task[..., Any]", args: tuple[Any, ...], kwargs: dict[str, Any], context: RunContext
) -> Run:
    from perdure._api.task import Task

    refuse_inside_action("run")
    if not isinstance(task, Task):
        raise ConfigurationError(
            f"perdure.run takes a task, not {task!r}",
            hint="decorate the function with @env.task, and pass the task itself without calling "
            "it: perdure.run(main, x=1)",
        )
    context.apply_durability()
    known = link.find(context.name) if context.name else None
    with contextlib.nullcontext() if known else link.runtime_ahead():
        row = _row(task, args, kwargs, context)
        if known is None:
            known = _submit(row)
    while known is not None and not attaching.attach(known, row, strict=context.strict):
        known = _submit(row)
    return Run(row.name)


def _row(
    task: "Task[..., Any]", args: tuple[Any, ...], kwargs: dict[str, Any], context: RunContext
) -> RunRow:
    """Return the run that is asked for; what it refers to is stored."""
    from perdure import _serde
    from perdure._api import caching, recipes

    bound = task.bind(args, kwargs)
    blobs = link.blobs()
    encoded = _serde.dumps(bound, blobs)
    if encoded.needs:
        raise ConfigurationError(
            f"a future was passed to perdure.run({task.name}): it belongs to another run",
            hint="wait for it and pass its result",
        )
    custom = _serde.dumps(context.custom_context, blobs)
    spec = task.spec()
    if spec.image.recipe:
        recipes.store(spec.image, blobs)
    if context.strict and spec.image.unapplied:
        raise NotSupportedError(spec.image.unapplied, task=task.name)
    if spec.cache is not None:
        caching.store_facts(spec.cache, blobs)
    declare((spec.queue, context.queue))
    return RunRow(
        name=context.name or new_name(task.name),
        spec=spec,
        inputs=encoded.data,
        inputs_digest=encoded.digest,
        blobs=(*encoded.blobs, *custom.blobs),
        bundle=Bundle(),
        context=custom.data if context.custom_context else b"",
        options=context.encoded(),
        created=time.time(),
    )


def _submit(row: RunRow) -> RunRow | None:
    """Start a run; return it if there is one of that name."""
    from perdure._version.snapshot import snapshot
    from perdure.client.secrets import check_secrets

    row.bundle = snapshot(link.blobs())
    if row.spec.reuse.secrets:
        check_secrets(row)
    try:
        link.runtime().submit(row)
    except RunConflictError:  # another process was faster with the same name
        return link.get(row.name)
    return None


def refuse_inside_action(verb: str) -> None:
    """Refuse to start a run inside an action, or while a file is loaded.

    Raises:
        ConfigurationError: This is such a place.
    """
    from perdure._api.scope import current

    inside = current() is not None
    if file := _file_being_loaded(imports=inside):
        raise ConfigurationError(
            f"{file} calls perdure.{verb} while it is loaded",
            hint='put that call under `if __name__ == "__main__":`; workers load the file, too, to '
            "find its tasks, and must not start a run each",
        )
    if inside:
        raise ConfigurationError(
            f"perdure.{verb} was called inside an action",
            hint="call the task itself: it becomes a child of this action, durable like it",
        )


def _file_being_loaded(*, imports: bool) -> str:
    """Return the user's file whose top level is what is running now, or "".

    A main script counts if it was loaded rather than started, an imported module if ``imports``.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # inspect.stack reads every file
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if frame.f_code.co_name == "<module>" and name != MAIN and (imports or name == LOADED_MAIN):
            return frame.f_code.co_filename
        frame = frame.f_back
    return ""


run = Twofold(_run)
resume = Twofold(_resume)
