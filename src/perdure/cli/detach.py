"""``perdure run --no-follow``: a process of its own drives the run and outlives the terminal."""

import subprocess
import sys
import time
from pathlib import Path

import click

from perdure.cli import exits
from perdure.client import link

_PATIENCE = 60.0


def start(name: str, arguments: list[str], *, as_json: bool) -> int:
    """Start ``perdure`` again in the background and return once the run is on record.

    Args:
        name: Name of the run.
        arguments: The command line as the user gave it.
        as_json: Answer with a JSON document.
    """
    child, output = _spawn(name, arguments)
    deadline = time.monotonic() + _PATIENCE
    while link.find(name) is None and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if link.find(name) is None:
        click.echo(output.read_text(errors="replace"), err=True, nl=False)
        return child.returncode or exits.FAILED
    if as_json:
        exits.print_json({"name": name, "pid": child.pid})
    else:
        click.echo(name)
        click.echo(f"runs in process {child.pid}; watch it with: perdure watch {name}", err=True)
    return exits.OK


def _spawn(name: str, arguments: list[str]) -> "tuple[subprocess.Popen[bytes], Path]":
    config = link.config()
    config.logs.mkdir(parents=True, exist_ok=True)
    output = config.logs / f"{name}.out"
    command = [sys.executable, "-m", "perdure", "run", "--follow", "--name", name]
    with output.open("wb") as file:
        child = subprocess.Popen(
            command + _without(arguments),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # the terminal's hang-up and Ctrl-C are not for it
        )
    return child, output


def _without(arguments: list[str]) -> list[str]:
    """Return what came after ``run``, without what is decided here."""
    kept = [each for each in arguments if each not in ("--no-follow", "--json")]
    return kept[kept.index("run") + 1 :]
