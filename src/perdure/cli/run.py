"""``perdure run``: the parameters of a task become options, the run is followed to its end.

Two commands are at work. The outer one knows FILE and the options of every run; the inner one is
made for the task that was found and knows its parameters too. Where a parameter has the name of an
option, it wins after FILE, and the option is given before FILE.
"""

import sys
from typing import TYPE_CHECKING, Any

import click

from perdure.cli import exits, loading, params

if TYPE_CHECKING:
    from perdure._api.task import Task

_HELP = """Run a task of a file or module and show its progress.

TARGET is a file (pipeline.py), a file and a task (pipeline.py:main) or a module (package.module).
Without a task, the only one is taken, or the one called main. Parameters of the task follow as
options, compound ones as JSON or @FILE:

\b
  perdure run pipeline.py --months '[1, 2, 3]' --name nightly
  perdure run pipeline.py train --help
"""


def _run_options() -> list[click.Option]:
    return [
        click.Option(["--name"], help="Name of the run; an existing one is attached to."),
        click.Option(["--engine"], help="Where workers run; only local so far."),
        click.Option(
            ["--follow/--no-follow"], default=True,
            help="Show progress, or print the name and leave the run to a process of its own.",
        ),
        click.Option(["--durability"], type=click.Choice(["full", "process"]), help="How careful."),
        click.Option(["--env", "env_vars"], multiple=True, metavar="NAME=VALUE",
                     help="Set an environment variable in the workers."),
        click.Option(["--strict"], is_flag=True, help="Do not go on with changed code."),
        click.Option(["--overwrite-cache"], is_flag=True,
                     help="Run cached tasks anew, and keep the new results."),
        click.Option(["--disable-run-cache"], is_flag=True, help="Leave the cache alone."),
        click.Option(["--queue"], help="Queue that admits the run."),
        click.Option(["--priority"], type=int, default=0, help="Higher goes first."),
        click.Option(["--json", "as_json"], is_flag=True, callback=exits.remember_json,
                     help="Print one JSON document and nothing else."),
    ]  # fmt: skip


@click.command(
    help=_HELP,
    params=[*_run_options(), click.Argument(["target"]), click.Argument(["rest"], nargs=-1)],
    context_settings={
        "ignore_unknown_options": True, "allow_interspersed_args": False, "max_content_width": 100,
    },
    options_metavar="[OPTIONS]",
)  # fmt: skip
@click.pass_context
def run(ctx: click.Context, /, target: str, rest: tuple[str, ...], **before: Any) -> None:
    """Find the task, then hand over to a command made for it."""
    if target.startswith("-"):
        raise click.UsageError(
            f"there is no option {target} before FILE; parameters of the task go after it"
        )
    found = loading.find_task(target, list(rest))
    settings = {
        name: value
        for name, value in before.items()
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    command = _command(found.task, settings)
    with command.make_context(f"run {found.shown}", found.rest, parent=ctx.parent) as inner:
        command.invoke(inner)


class TaskCommand(click.Command):
    """The command of one task: its help tells parameters and options apart."""

    def __init__(self, *args: Any, own: list[click.Option], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._own = own

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the parameters of the task first, then the options of every run."""
        own = [each.get_help_record(ctx) for each in self._own]
        rest = [each.get_help_record(ctx) for each in self.get_params(ctx) if each not in self._own]
        for title, records in (("Parameters", own), ("Options", rest)):
            if shown := [record for record in records if record is not None]:
                with formatter.section(title):
                    formatter.write_dl(shown)


def _command(task: "Task[..., Any]", before: dict[str, Any]) -> click.Command:
    """Return the command for one task: its parameters, and the options that they do not hide."""
    own = params.options(task.function)
    taken = {option for each in own for option in (*each.opts, *each.secondary_opts)}
    common = [each for each in _run_options() if taken.isdisjoint(each.opts)]

    def start(**_values: Any) -> None:
        ctx = click.get_current_context()
        settings = {each.name: ctx.params[each.name] for each in common if each.name is not None}
        _start(ctx, task, params.given(ctx, own), _defaults() | settings | before)

    doc = task.function.__doc__ or ""
    return TaskCommand(
        "run", own=own, params=[*own, *common], callback=start,
        help=params.summary(doc) or f"Run {task.name}.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100,
                          "token_normalize_func": lambda token: token.replace("_", "-")},
    )  # fmt: skip


def _defaults() -> dict[str, Any]:
    return {"name": None, "engine": None, "follow": True, "durability": None, "env_vars": (),
            "strict": False, "overwrite_cache": False, "disable_run_cache": False,
            "queue": None, "priority": 0, "as_json": False}  # fmt: skip


def _start(
    ctx: click.Context, task: "Task[..., Any]", values: dict[str, Any], settings: dict[str, Any]
) -> None:
    from perdure.cli import detach, drive
    from perdure.client.naming import new_name
    from perdure.client.running import with_runcontext

    positional, keyword = params.call_arguments(task.function, values)
    name = new_name(task.name) if settings["name"] is None else settings["name"]
    runner = with_runcontext(
        name=name, engine=settings["engine"], durability=settings["durability"],
        env_vars=_pairs(settings["env_vars"]), strict=settings["strict"],
        overwrite_cache=settings["overwrite_cache"],
        disable_run_cache=settings["disable_run_cache"], queue=settings["queue"],
        priority=settings["priority"],
    )  # fmt: skip
    if not settings["follow"]:
        task.bind(tuple(positional), keyword)  # what is wrong is said here and now
        ctx.exit(detach.start(name, sys.argv[1:], as_json=settings["as_json"]))
    ctx.exit(
        drive.to_the_end(
            name, lambda: runner.run(task, *positional, **keyword), as_json=settings["as_json"]
        )
    )


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    for text in texts:
        if not text.partition("=")[0] or "=" not in text:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}
