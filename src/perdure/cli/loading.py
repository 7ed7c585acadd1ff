"""Finding the task that ``perdure run`` was asked for."""

import difflib
import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from perdure.errors import ConfigurationError, PerdureError, TaskLoadError

if TYPE_CHECKING:
    from perdure._api.environment import TaskEnvironment
    from perdure._api.image import Image
    from perdure._api.task import Task


Tasks = dict[str, "Task[..., Any]"]


class Found(NamedTuple):
    """A task on the command line: how it is shown there, and the arguments that follow it."""

    task: "Task[..., Any]"
    shown: str
    rest: list[str]


def find_task(target: str, rest: list[str]) -> Found:
    """Load the file or module and pick the task.

    Args:
        target: ``FILE``, ``FILE:TASK``, ``package.module`` or ``package.module:TASK``.
        rest: The arguments after it; the first one may name the task.

    Raises:
        click.BadParameter: There is no such file, module or task.
        TaskLoadError: The file cannot be imported.
    """
    source, _, wanted = target.partition(":")
    module = _load(source)
    if not wanted and rest and not rest[0].startswith("-"):
        wanted, rest = rest[0], rest[1:]
    name, task = _pick(_tasks(module), wanted, source)
    shown = target if target.endswith(f":{wanted}") and wanted else f"{source} {name}"
    return Found(task, shown, rest)


def find_images(target: str) -> "dict[Image, list[str]]":
    """Load the file or module; return its images, with the environments that have them.

    Environments that others depend on count, and so do images of single tasks.

    Args:
        target: ``FILE``, ``FILE:ENV``, ``package.module`` or ``package.module:ENV``, where ENV is
            a variable or the name of an environment.

    Raises:
        click.BadParameter: There is no such file, module or environment.
        TaskLoadError: The file cannot be imported.
    """
    source, _, wanted = target.partition(":")
    known = _environments(_load(source))
    if wanted and wanted not in known:
        names = sorted({env.name for env in known.values()})
        raise click.BadParameter(
            f"{source} has no environment {wanted!r}; it has {', '.join(names)}", param_hint="ENV"
        )
    chosen = [known[wanted]] if wanted else list(dict.fromkeys(known.values()))
    found: dict[Image, list[str]] = {}
    for env in chosen:
        images = [env.image, *(task.settings.image for task in env.tasks.values())]
        for image in dict.fromkeys(images):
            if image is not None:
                found.setdefault(image, []).append(env.name)
    return found


def _environments(module: ModuleType) -> "dict[str, TaskEnvironment]":
    """Return the environments of a module by variable and by name, dependencies included."""
    from perdure._api.environment import TaskEnvironment

    found = {n: value for n, value in vars(module).items() if isinstance(value, TaskEnvironment)}
    waiting = [*found.values(), *(task.env for task in _tasks(module).values())]
    while waiting:
        env = waiting.pop()
        if env.name not in found:
            found[env.name] = env
            waiting += env.depends_on
    return found


def _load(source: str) -> ModuleType:
    path = Path(source)
    if path.suffix != ".py" and "/" not in source and not path.exists():
        return _guarded(source, _import, source)
    if not path.is_file():
        raise click.BadParameter(f"there is no file {source!r}{_meant(path)}", param_hint="FILE")
    from perdure._worker.loader import load_main

    return _guarded(source, load_main, str(path.absolute()))


def _import(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name + ".").startswith(error.name + "."):
            raise click.BadParameter(
                f"there is neither a file nor a module {name!r}", param_hint="FILE"
            ) from None
        raise


def _guarded(source: str, load: Callable[[str], ModuleType], argument: str) -> ModuleType:
    try:
        return load(argument)
    except (click.ClickException, PerdureError, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise TaskLoadError(
            f"{source} ended the process while it was loaded (exit {error.code})",
            hint='keep what starts the program under: if __name__ == "__main__":',
        ) from error
    except BaseException as error:
        raise TaskLoadError(
            f"{source} cannot be loaded:\n\n{_own_frames(error)}",
            hint="it must import without errors, as it does for python -c 'import ...'",
        ) from error


def _own_frames(error: BaseException) -> str:
    """Return the traceback from the user's first line on."""
    ours = str(Path(__file__).parents[1])
    trace = error.__traceback__
    while trace is not None and (
        trace.tb_frame.f_code.co_filename.startswith((ours, "<frozen importlib"))
        or "/importlib/" in trace.tb_frame.f_code.co_filename
    ):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _tasks(module: ModuleType) -> Tasks:
    from perdure._api.task import Task

    found = {name: value for name, value in vars(module).items() if isinstance(value, Task)}
    # a task that was imported is a helper of this file, unless the file has nothing else
    own = {n: t for n, t in found.items() if t.function.__module__ == module.__name__}
    return own or found


def _pick(
    tasks: dict[str, "Task[..., Any]"], wanted: str, source: str
) -> tuple[str, "Task[..., Any]"]:
    if not tasks:
        raise ConfigurationError(
            f"{source} defines no task", hint="decorate a function with @env.task"
        )
    if wanted:
        by_name = {task.name: (name, task) for name, task in tasks.items()}
        if wanted in tasks:
            return wanted, tasks[wanted]
        if wanted in by_name:
            return by_name[wanted]
        near = difflib.get_close_matches(wanted, tasks, 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise click.BadParameter(
            f"{source} has no task {wanted!r}; {meant}it has {', '.join(tasks)}", param_hint="TASK"
        )
    if len(tasks) == 1:
        return next(iter(tasks.items()))
    if "main" in tasks:
        return "main", tasks["main"]
    if len(entries := [item for item in tasks.items() if item[1].settings.entrypoint]) == 1:
        return entries[0]
    raise click.BadParameter(
        f"{source} has several tasks; name one of {', '.join(tasks)}", param_hint="TASK"
    )


def _meant(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (there is no folder {str(path.parent)!r})"
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1)
    return f"; did you mean {str(path.parent / near[0])!r}?" if near else ""
