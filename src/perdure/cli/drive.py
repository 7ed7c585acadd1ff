"""``perdure resume``, ``rerun``, ``abort``, ``watch``: what moves a run or waits for it."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from perdure.cli import exits
from perdure.cli.stopping import Stop
from perdure.client.attaching import CodeChangedWarning, EnvironmentChangedWarning
from perdure.errors import ConfigurationError

if TYPE_CHECKING:
    from perdure.client.handle import Run

_STDOUT, _STDERR = 1, 2


def to_the_end(name: str, start: "Callable[[], Run]", *, as_json: bool) -> int:
    """Start a run, follow it, say how it ended; return the exit code.

    Ctrl-C stops cleanly: the runtime is shut down and the run can be resumed. A second one does not
    wait for that; the run can be resumed all the same. SIGTERM counts as Ctrl-C.
    """
    from perdure.cli import progress, report

    with Stop(lambda: _stop_at_once(name, as_json)) as stop:
        try:
            with _warnings_in_words():
                name = start().name
            row = progress.follow(name, show=not as_json, check=stop.check)
        except KeyboardInterrupt:
            return _stop(name, as_json=as_json)
        _finish()
        return report.conclude(row, as_json=as_json)


@click.command()
@click.argument("name")
@click.option("--strict", is_flag=True, help="Do not go on with changed code.")
@exits.json_option
@click.pass_context
def resume(ctx: click.Context, name: str, strict: bool, as_json: bool) -> None:
    """Go on with a run: what it finished is kept, what failed is tried again."""
    from perdure.client import running

    ctx.exit(to_the_end(name, lambda: running.resume(name, strict=strict), as_json=as_json))


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
)
@click.argument("name")
@click.option("--recover/--no-recover", default=True, help="Take over results of the old run.")
@click.option("--force", multiple=True, metavar="TASK", help="Run the actions of TASK again.")
@click.option(
    "--code",
    type=click.Choice(["recorded", "current"]),
    default="recorded",
    show_default=True,
    help="Run the code of the old run, or what is on disk now.",
)
@exits.json_option
@click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAM VALUE]...")
@click.pass_context
def rerun(
    ctx: click.Context,
    name: str,
    recover: bool,
    force: tuple[str, ...],
    code: str,
    as_json: bool,
    rest: tuple[str, ...],
) -> None:
    """Start a new run of the same task: its inputs, or some of them replaced, and its code."""
    from perdure.client import rerunning

    with _new_inputs(ctx, name, code, list(rest)) as values:
        ended = to_the_end(
            name,
            lambda: rerunning.rerun(name, recover=recover, force=force, code=code, **values),
            as_json=as_json,
        )
    ctx.exit(ended)


@click.command()
@click.argument("name")
@click.argument("action", required=False)
@exits.json_option
def abort(name: str, action: str | None, as_json: bool) -> None:
    """Stop a run, or one of its actions, for good. Everything below it stops, too."""
    from perdure.client import link

    row = link.get(name)
    target = None if action is None else bytes.fromhex(link.action(row, action).summary.id)
    if row.phase.final:
        raise ConfigurationError(f"run {name} has already {row.phase.value}", run=name)
    link.runtime().abort(name, target)
    _finish()
    if as_json:
        exits.print_json({"name": name, "aborted": True, "action": action})
    else:
        click.echo(f"aborted {name}" + (f", action {action}" if action else ""))


@click.command()
@click.argument("name")
@exits.json_option
@click.pass_context
def watch(ctx: click.Context, name: str, as_json: bool) -> None:
    """Follow a run that another process drives. Ctrl-C leaves the run alone."""
    from perdure.cli import progress, report

    ctx.exit(report.conclude(progress.follow(name, show=not as_json), as_json=as_json))


@contextmanager
def _new_inputs(
    ctx: click.Context, name: str, code: str, rest: list[str]
) -> Iterator[dict[str, Any]]:
    """Give the inputs on the command line, made of the classes of that code."""
    if not rest:
        yield {}
        return
    from perdure.cli import params
    from perdure.client import link, rerunning

    row = link.get(name)
    bundle = rerunning.recorded_bundle(row) if code == "recorded" else row.bundle
    with rerunning.root_task(row, bundle) as task:
        own = params.options(task.function, optional=True)
        command = click.Command("rerun", params=list(own))
        with command.make_context(f"perdure rerun {name}", rest, parent=ctx.parent) as inner:
            values = params.given(inner, own)
        yield values


def _finish() -> None:
    """Stop the runtime now rather than at exit: what it has to say comes before the conclusion."""
    from perdure.client import link

    runtime = link.running()
    if runtime is not None:
        runtime.shutdown()


def _stop(name: str, *, as_json: bool) -> int:
    from perdure.client import link

    runtime = link.running()
    if runtime is None:
        click.echo(f"\n{name} goes on in another process; see perdure watch {name}", err=True)
        return exits.INTERRUPTED
    click.echo("\nstopping; Ctrl-C again to stop at once", err=True)
    runtime.shutdown()
    stream, text = _how_to_resume(name, as_json)
    click.echo(text, err=stream == _STDERR)
    return exits.INTERRUPTED


def _stop_at_once(name: str, as_json: bool) -> None:
    """End this process in the midst of whatever it does, which may be writing to these streams."""
    stream, text = _how_to_resume(name, as_json)
    os.write(stream, f"{text}\n".encode())
    os._exit(exits.INTERRUPTED)


def _how_to_resume(name: str, as_json: bool) -> tuple[int, str]:
    """Return what is said at the end of what was stopped, and the stream that it belongs to."""
    if as_json:
        return _STDOUT, exits.json_text({"name": name, "phase": "interrupted"})
    return _STDERR, f"{name} keeps what it finished. Go on with: perdure resume {name}"


@contextmanager
def _warnings_in_words() -> Iterator[None]:
    """Show warnings as one line on stderr, without the line of ours that gave them."""

    def tell(message: Warning | str, *_rest: object, **_more: object) -> None:
        click.echo(click.style("warning: ", fg="yellow", bold=True) + str(message), err=True)

    with warnings.catch_warnings():
        for kind in (CodeChangedWarning, EnvironmentChangedWarning):
            warnings.simplefilter("always", kind)
        warnings.showwarning = tell
        yield
