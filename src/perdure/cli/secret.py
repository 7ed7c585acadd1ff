"""``perdure secret``: what is kept for tasks that name their secrets. Values are never printed."""

import re
import sys

import click

from perdure.cli import exits
from perdure.errors import SecretNotFoundError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class Name(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.3
    """The name of a secret."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        if not _NAME.fullmatch(value):
            self.fail(f"{value!r} is no name; letters, digits, '.', '-' and '_'", param, ctx)
        return value


@click.group()
def secret() -> None:
    """Keep secrets for tasks, in secrets.env of the home, which only you can read.

    Tasks find them, by name, after environment variables and .env of the project, and before the
    keyring of the operating system.
    """


@secret.command("set")
@click.argument("name", type=Name())
@click.option("--keyring", is_flag=True, help="Keep it in the keyring of the operating system.")
def set_(name: str, keyring: bool) -> None:
    """Keep the secret NAME; its value is asked for, or read from standard input."""
    from perdure._secrets import store
    from perdure.client import link

    if sys.stdin.isatty():
        value = click.prompt("value", hide_input=True, err=True)
    else:
        value = sys.stdin.read().removesuffix("\n")
    if not value:
        raise click.UsageError("there is no value: an empty one counts as none")
    if keyring:
        store.keep_in_keyring(name, value)
        click.echo(f"{name} is kept in the keyring")
        return
    home = link.config().checked().home
    store.store(home, store.stored(home) | {name: value})
    click.echo(f"{name} is kept in {store.secrets_file(home)}")


@secret.command("ls")
@exits.json_option
def list_(as_json: bool) -> None:
    """List the names of what is kept in the home."""
    from perdure._secrets import store
    from perdure.client import link

    home = link.config().checked().home
    names = sorted(store.stored(home))
    if as_json:
        exits.print_json(names)
    elif names:
        for name in names:
            click.echo(name)
    else:
        click.echo(f"nothing is kept in {store.secrets_file(home)}", err=True)


@secret.command()
@click.argument("name", type=Name())
@click.option("--keyring", is_flag=True, help="From the keyring of the operating system.")
def rm(name: str, keyring: bool) -> None:
    """Forget the secret NAME."""
    from perdure._secrets import store
    from perdure.client import link

    if keyring:
        store.keep_in_keyring(name, None)
        return
    home = link.config().checked().home
    kept = store.stored(home)
    if kept.pop(name, None) is None:
        raise SecretNotFoundError(
            f"there is no secret {name!r} in {store.secrets_file(home)}",
            hint="perdure secret ls shows what there is",
        )
    store.store(home, kept)
