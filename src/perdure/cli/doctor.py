"""``perdure doctor``: is this machine, and is this home, in order?"""

import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import click

from perdure._core.model import Phase
from perdure.cli import exits, render
from perdure.client import link
from perdure.config import Config
from perdure.errors import EnvironmentBuildError, PerdureError

_PACKAGES = ("perdure", "msgspec", "blake3", "cloudpickle", "click", "rich")
_LOW_DISK = 1 << 30
_SLOW_FSYNC = 0.02


class Finding(NamedTuple):
    """One thing that was looked at: ``ok``, ``warning`` or ``error``, and in words."""

    check: str
    state: str
    text: str
    hint: str = ""


@click.command()
@exits.json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check this machine and the journal; exit with 1 if something is broken."""
    findings = list(examine(link.config()))
    broken = any(each.state == "error" for each in findings)
    if as_json:
        exits.print_json({"ok": not broken, "checks": [each._asdict() for each in findings]})
    else:
        _print(findings)
    ctx.exit(exits.FAILED if broken else exits.OK)


def examine(config: Config) -> Iterator[Finding]:
    """Yield what there is to say about this machine and the home of ``config``."""
    for check, look in _CHECKS.items():
        try:
            state, text, hint = look(config)
        except PerdureError as error:
            state, text, hint = "error", error.message, error.hint
        except OSError as error:
            state, text, hint = "error", str(error), ""
        yield Finding(check, state, text, hint)


Verdict = tuple[str, str, str]


def _python(_config: Config) -> Verdict:
    text = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return ("ok", text, "") if fits else ("warning", text, "tested with 3.11, 3.12 and 3.13")


def _packages(_config: Config) -> Verdict:
    missing, found = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return "error", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}"
    return "ok", ", ".join(found), ""


def _uv(_config: Config) -> Verdict:
    from perdure._environments.uv import find_uv

    try:
        return "ok", find_uv(), ""
    except EnvironmentBuildError as error:
        return "ok", "not installed; only images need it", error.hint


def _cpus(config: Config) -> Verdict:
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    limit = "" if config.cpus is None else f", limited to {config.cpus:g}"
    return "ok", f"{usable} usable{limit}", ""


def _home(config: Config) -> Verdict:
    hint = "point PERDURE_HOME at a folder you may write to"
    folder = config.home
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return "error", f"{config.home} cannot be written", hint
    made = "" if config.home.exists() else " (made by the first run)"
    return "ok", f"{config.home}, durability {config.durability}{made}", ""


def _disk(config: Config) -> Verdict:
    free = shutil.disk_usage(_existing(config.home)).free
    text = f"{free / 2**30:,.1f} GiB free"
    return ("ok", text, "") if free > _LOW_DISK else ("warning", text, "make room, soon")


def _fsync(config: Config) -> Verdict:
    with tempfile.NamedTemporaryFile(dir=_existing(config.home)) as file:
        times = []
        for _ in range(10):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    median = statistics.median(times)
    text = f"{median * 1000:.2f} ms (median of 10)"
    if median < _SLOW_FSYNC:
        return "ok", text, ""
    return "warning", text, 'slow: durability="process" gives up surviving a power loss for speed'


def _storage(config: Config) -> Verdict:
    if not config.storage:
        return "ok", f"{config.blobs}", ""
    link.blobs().has(bytes(32))  # whoever may ask for what is not there may ask
    return "ok", f"{config.storage}, reached", ""


def _journal(config: Config) -> Verdict:
    if not config.journal.exists():
        return "ok", "none yet", ""
    problems = link.views().check()
    if problems:
        return "error", "; ".join(problems[:3]), f"restore {config.journal} from a backup"
    size = config.journal.stat().st_size
    return "ok", f"{config.journal}, {size / 2**20:,.1f} MiB, intact", ""


def _leftovers(config: Config) -> Verdict:
    if not config.journal.exists():
        return "ok", "none", ""
    names = [row.name for row in link.listed(Phase.INTERRUPTED)]
    if not names:
        return "ok", "none", ""
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return "warning", f"{len(names)}: {shown}", f"perdure resume {names[0]}, or perdure abort"


_CHECKS: dict[str, Callable[[Config], Verdict]] = {
    "python": _python,
    "packages": _packages,
    "uv": _uv,
    "cpus": _cpus,
    "home": _home,
    "disk": _disk,
    "fsync": _fsync,
    "storage": _storage,
    "journal": _journal,
    "interrupted runs": _leftovers,
}


def _existing(path: Path) -> Path:
    while not path.is_dir():
        path = path.parent
    return path


def _print(findings: list[Finding]) -> None:
    from rich.text import Text

    signs = {
        "ok": render.glyph(Phase.SUCCEEDED),
        "warning": Text("!", style="yellow"),
        "error": render.glyph(Phase.FAILED),
    }
    table = render.grid("", "", "")
    for each in findings:
        text = Text(each.text)
        if each.hint:
            text.append(f"\n{each.hint}", style="cyan")
        table.add_row(signs[each.state], each.check, text)
    render.show(table)
