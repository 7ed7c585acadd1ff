"""``perdure queue``: named queues, their limits, and who uses them."""

import click
import msgspec

from perdure.cli import exits, render
from perdure.client.words import rate


@click.group()
def queue() -> None:
    """List queues, and say how many may run, start or wait in them."""


@queue.command("ls")
@exits.json_option
def list_(as_json: bool) -> None:
    """List the queues: their limits, how many run and wait, and in which processes."""
    from perdure.client import link, queues

    found = queues.listed()
    if as_json:
        exits.print_json(msgspec.to_builtins(found))
        return
    if not found:
        click.echo(f"no queue was declared in {link.config().home}", err=True)
        return
    table = render.grid(
        "QUEUE", ">CONCURRENCY", ">RATE", ">DEPTH", ">PRIORITY", ">RUNNING", ">WAITING", "BY",
        header=True,
    )  # fmt: skip
    for each in found:
        limits = each.limits
        table.add_row(
            limits.name, str(limits.concurrency or "-"),
            rate(limits.starts, limits.period) or "-", str(limits.depth or "-"),
            str(limits.priority), render.number(each.held),
            render.number(each.waiting), ", ".join(_user(user) for user in each.users),
        )  # fmt: skip
    render.show(table)


def _user(user: "object") -> str:
    from perdure.client.queues import QueueUser

    assert isinstance(user, QueueUser)
    shown = ", ".join(user.runs[:2]) + (" ..." if len(user.runs) > 2 else "")
    return f"{user.pid} ({shown}): {user.held}" if shown else f"{user.pid}: {user.held}"


@queue.command("set")
@click.argument("name")
@click.option("--concurrency", type=click.IntRange(0), help="How many run at once; 0: any number.")
@click.option("--rate", help="How many start in a period, such as 100/m; 0: any number.")
@click.option("--depth", type=click.IntRange(0), help="How many may wait; 0: any number.")
@click.option("--priority", type=int, help="Higher goes first.")
@exits.json_option
def set_(
    name: str,
    concurrency: int | None,
    rate: str | None,
    depth: int | None,
    priority: int | None,
    as_json: bool,
) -> None:
    """Declare the queue NAME, or change limits of it, for all processes of this home."""
    from perdure._api.queue import Queue
    from perdure.client import queues

    before = next((each.limits for each in queues.listed() if each.limits.name == name), None)
    asked = Queue(name, concurrency or None, None if rate == "0" else rate, depth or None,
                  priority or 0).limits()  # fmt: skip
    limits = asked if before is None else msgspec.structs.replace(
        before,
        concurrency=before.concurrency if concurrency is None else asked.concurrency,
        starts=before.starts if rate is None else asked.starts,
        period=before.period if rate is None else asked.period,
        depth=before.depth if depth is None else asked.depth,
        priority=before.priority if priority is None else asked.priority,
    )  # fmt: skip
    queues.set_limits(limits)
    if as_json:
        exits.print_json(msgspec.to_builtins(limits))
    else:
        click.echo(f"{name} has {queues.in_words(limits)}")


@queue.command()
@click.argument("name")
def rm(name: str) -> None:
    """Forget the queue NAME; it must not be in use."""
    from perdure.client import queues

    queues.remove(name)
