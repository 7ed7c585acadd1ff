"""How things look: phases, times, counts; one style for every command.

Output goes through rich on a terminal. Elsewhere the same renderables come out as plain text,
uncoloured and uncut, for pipes and files.
"""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from perdure._core.model import Phase
from perdure.client.words import duration, number, size, when

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = [
    "LOOK", "console", "duration", "glyph", "grid", "number", "phase_text", "show", "size",
    "summary", "when",
]  # fmt: skip

_PLAIN_WIDTH = 10_000

LOOK: dict[Phase, tuple[str, str, str]] = {
    Phase.SUCCEEDED: ("✓", "+", "green"),
    Phase.CACHED: ("≡", "=", "cyan"),
    Phase.FAILED: ("✗", "x", "red"),
    Phase.ABORTED: ("⊘", "-", "magenta"),
    Phase.RUNNING: ("●", "*", "blue"),
    Phase.QUEUED: ("○", "o", "bright_black"),
    Phase.WAITING: ("◌", ".", "bright_black"),
    Phase.RETRYING: ("↻", "r", "yellow"),
    Phase.INTERRUPTED: ("‖", "!", "yellow"),
}


def console(*, stderr: bool = False) -> "Console":
    """Return a console for stdout (or stderr) as it is now."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    tty = stream.isatty()
    return Console(
        file=stream, width=None if tty else _PLAIN_WIDTH, highlight=False, soft_wrap=not tty
    )


def show(*things: "RenderableType") -> None:
    """Print renderables to stdout."""
    out = console()
    if out.is_terminal:
        for thing in things:
            out.print(thing)
        return
    with out.capture() as captured:
        for thing in things:
            out.print(thing)
    for line in captured.get().splitlines():
        print(line.rstrip())  # tables pad their last column


def glyph(phase: Phase) -> "Text":
    """Return the coloured sign of a phase."""
    from rich.text import Text

    fancy, plain, colour = LOOK[phase]
    return Text(fancy if _unicode() else plain, style=colour)


def phase_text(phase: Phase) -> "Text":
    """Return sign and word of a phase, coloured."""
    return glyph(phase).append(f" {phase.value}")


def grid(*columns: str, header: bool = False) -> "Table":
    """Return a borderless table; a column whose name starts with ``>`` is right-aligned."""
    from rich.table import Table

    table = Table(
        box=None, show_header=header, header_style="bright_black", padding=(0, 2, 0, 0),
        pad_edge=False,
    )  # fmt: skip
    for name in columns:
        table.add_column(
            name.lstrip(">"), justify="right" if name.startswith(">") else "left", overflow="fold"
        )
    return table


def summary(phases: Iterable[tuple[Phase, int]]) -> "Text":
    """Return ``9,120 succeeded  3 failed``: how many are in which phase, without zeros."""
    from rich.text import Text

    text = Text()
    for phase, count in phases:
        if count:
            text.append("  " if text else "")
            text.append(f"{number(count)} {phase.value}", style=LOOK[phase][2])
    return text


def _unicode() -> bool:
    # a live display replaces sys.stdout with something that has no encoding
    encoding = getattr(sys.__stdout__, "encoding", None) or ""
    return encoding.lower().startswith("utf")
