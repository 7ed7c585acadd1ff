"""The root command: verbs are listed from a table and loaded when used, so that help is instant."""

import difflib
import importlib

import click

from perdure import errors
from perdure.cli import exits

_VERBS = {
    "run": ("perdure.cli.run:run", "Run a task of a file or module."),
    "resume": ("perdure.cli.drive:resume", "Go on with a run that was interrupted or failed."),
    "rerun": ("perdure.cli.drive:rerun", "Start a new run of the same task, with its code."),
    "abort": ("perdure.cli.drive:abort", "Stop a run, or one of its actions, for good."),
    "signal": ("perdure.cli.signal:signal", "Answer a condition that a run waits for."),
    "build": ("perdure.cli.build:build", "Install what the images of a file ask for."),
    "image": ("perdure.cli.image:image", "Write images as Dockerfiles."),
    "ls": ("perdure.cli.ls:ls", "List runs, newest first."),
    "show": ("perdure.cli.show:show", "Show a run as a tree, or one action in full."),
    "diff": ("perdure.cli.diff:diff", "Compare two runs."),
    "debug": ("perdure.cli.debug:debug", "Execute one action again in the debugger."),
    "logs": ("perdure.cli.logs:logs", "Print what the actions of a run wrote."),
    "report": ("perdure.cli.reports:report", "Print where the reports of a run are."),
    "watch": ("perdure.cli.drive:watch", "Follow a run that another process drives."),
    "why": ("perdure.cli.why:why", "Tell what a run or an action waits for."),
    "top": ("perdure.cli.top:top", "Watch machine, workers and runs as they are now."),
    "artifact": ("perdure.cli.artifact:artifact", "List, show and tag published values."),
    "lineage": ("perdure.cli.lineage:lineage", "Show where values came from and where they went."),
    "cache": ("perdure.cli.cache:cache", "Explain, list and clear what is kept for all runs."),
    "queue": ("perdure.cli.queue:queue", "List queues, and set their limits."),
    "secret": ("perdure.cli.secret:secret", "Keep secrets for tasks that name them."),
    "du": ("perdure.cli.du:du", "Show what takes how much space."),
    "gc": ("perdure.cli.gc:gc", "Remove old runs, and what nobody needs any more."),
    "doctor": ("perdure.cli.doctor:doctor", "Check this machine and the journal."),
}


class Root(click.Group):
    """A group whose verbs are imported when used, and whose errors are for people."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the daily loop."""
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of that name."""
        if cmd_name not in _VERBS:
            return None
        module, _, attribute = _VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        if args and args[0] not in _VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _VERBS, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"There is no command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in _VERBS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb; turn what it raises into words and an exit code."""
        try:
            return super().invoke(ctx)
        except errors.PerdureError as error:
            exits.tell(error, ctx)
            ctx.exit(exits.exit_code(error))
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(exits.INTERRUPTED)
        except BrokenPipeError:
            _stay_quiet()
            ctx.exit(exits.OK)


def _stay_quiet() -> None:
    """Point stdout at nothing: the reader of our pipe has gone, as after ``| head``."""
    import os
    import sys

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"perdure {version('perdure')}")
        ctx.exit()


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 the run failed, 2 usage, 3 not found, 6 diverged, 124 timeout, "
    "130 interrupted.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version,
    help="Print the version.",
)  # fmt: skip
def root() -> None:
    """Run plain Python as durable workflows, and look at what they did."""
    import os

    # Stdout is for results here; what tasks print is read with ``perdure logs``.
    os.environ.setdefault("PERDURE_ECHO", "0")
