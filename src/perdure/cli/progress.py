"""Following a run: a live picture on a terminal, a line now and then elsewhere.

Progress goes to stderr; stdout is for results. What is shown comes from the journal alone, so a run
looks the same whichever process drives it. The pace slows down so that looking takes at most a
tenth of the time.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from perdure._core.model import Phase
from perdure._core.records import RunRow
from perdure.cli import asking, render
from perdure.client import link
from perdure.client.signalling import open_conditions
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from perdure.client.signalling import OpenCondition
    from perdure.client.why import Why


Counts = dict[str, dict[Phase, int]]

_PACE = 0.1
_PLAIN_PACE = 2.0
_WINDOW = 5.0
_STILL = 3.0
"""Seconds without any change, after which people want to know why; likewise from then on."""

_BAR = 24
_TASKS = 12
_ORDER = (
    Phase.RUNNING, Phase.QUEUED, Phase.WAITING, Phase.RETRYING, Phase.FAILED, Phase.ABORTED,
    Phase.CACHED,
)  # fmt: skip


class Rate:
    """Completions per second over the last few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def update(self, done: int) -> float:
        """Note how many are done by now; return the rate, 0 while unknown."""
        now = self._clock()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        then, before = self._seen[0]
        return (done - before) / (now - then) if now > then else 0.0


class Stillness:
    """Tells why nothing moves, when nothing has moved for a while.

    Args:
        ask: Tells why.
        clock: Tells for how long.

    Attributes:
        why: What was said last; None while things move.
    """

    def __init__(
        self, ask: "Callable[[], Why]", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._counts: Counts = {}
        self._due = clock() + _STILL
        self.why: Why | None = None

    def look(self, counts: Counts) -> None:
        """Note how many actions are in which phase by now."""
        now = self._clock()
        if counts != self._counts:
            self._counts, self._due, self.why = counts, now + _STILL, None
        elif now >= self._due:
            self._due = now + _STILL
            with contextlib.suppress(PerdureError):  # it is only in passing that this is told
                self.why = self._ask()

    @property
    def line(self) -> str:
        """Why nothing moves, or ""."""
        return self.why.cause if self.why is not None and self.why.chain else ""

    @property
    def cause(self) -> tuple[str, str] | None:
        """What does not move, and the kind of its reason."""
        if self.why is None or not self.why.chain:
            return None
        last = self.why.chain[-1]
        return last.action.id, type(last.reason).__name__


class Picture:
    """Draws the state of a run from its counts."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.counts: Counts = {}
        self.row: RunRow | None = None
        self.rate = 0.0
        self.preparing = ""
        self.asks: list[OpenCondition] = []
        self._rate = Rate(clock)
        self.still = Stillness(self._why, clock)

    def _why(self) -> "Why":
        from perdure.client.why import why

        return why(self.name, closely=False)

    def look(self) -> float:
        """Read the journal; return the seconds to wait before the next look."""
        began = time.monotonic()
        self.row = link.get(self.name)
        self.counts = counts(self.row.key)
        self.rate = self._rate.update(_done(self.counts))
        self.preparing = _preparing(self.row.key)
        self.asks = open_conditions(self.row) if self._may_ask() else []
        self.still.look(self.counts)
        return max(_PACE, 10 * (time.monotonic() - began))

    def _may_ask(self) -> bool:
        return any(Phase.WAITING in phases for phases in self.counts.values())

    def line(self) -> str:
        """Return the state as one plain line."""
        done, total = _done(self.counts), _total(self.counts)
        now = [
            f"{render.number(count)} {phase.value}"
            for phase in _ORDER
            if (count := sum(each.get(phase, 0) for each in self.counts.values()))
        ]
        parts = [f"{render.number(done)}/{render.number(total)} done", *now]
        parts += [self.preparing] if self.preparing else []
        asks = [
            f"{self.name}: waits for an answer: {each.prompt} {command}"
            for each, command in zip(self.asks, self._answers(), strict=False)
        ]
        return "\n".join([f"{self.name}: {', '.join(parts)}", *asks])

    def draw(self) -> "RenderableType":
        """Return the state as a block for a terminal."""
        from rich.console import Group
        from rich.text import Text

        if self.row is None:
            return Text("")
        head = Text.assemble((self.name, "bold"), "  ", (self.row.spec.name, "bright_black"), "  ")
        head.append_text(render.phase_text(self.row.phase))
        head.append(f"  {render.duration(_elapsed(self.row))}")
        table = render.grid("", "", ">", "")
        shown = sorted(self.counts.items(), key=lambda item: -sum(item[1].values()))[:_TASKS]
        names = {task for task, _ in shown}
        for task, phases in self.counts.items():
            if task in names:
                table.add_row(*_task_row(task, phases))
        if len(self.counts) > _TASKS:
            table.add_row(Text(f"  … {len(self.counts) - _TASKS} more tasks", "bright_black"))
        if self.preparing:
            table.add_row(Text(f"  {self.preparing}", "yellow"))
        pace = Text(f"  {self._pace()}", style="bright_black")
        lines: list[RenderableType] = [head, table]
        lines += [self._question(*each) for each in zip(self.asks, self._answers(), strict=False)]
        lines.append(pace)
        if self.still.line and not self.asks:
            lines.append(Text(f"  {self.still.line}", style="yellow"))
        return Group(*lines)

    def _answers(self) -> list[str]:
        return asking.commands(self.name, self.asks)

    def _question(self, condition: "OpenCondition", command: str) -> "RenderableType":
        from rich.text import Text

        return Text.assemble(
            ("  ? ", "yellow"), (condition.name, "bold"), f"  {condition.prompt}\n",
            ("    answer in another terminal: ", "bright_black"), command,
        )  # fmt: skip

    def _pace(self) -> str:
        left = _total(self.counts) - _done(self.counts)
        parts = [f"{render.number(_done(self.counts))} done"]
        if self.rate >= 0.05:
            parts.append(f"{self.rate:,.0f}/s" if self.rate >= 10 else f"{self.rate:.1f}/s")
            if left > 1:
                parts.append(f"about {render.duration(left / self.rate)} for what is known so far")
        return " · ".join(parts)


def follow(name: str, *, show: bool = True, check: Callable[[], None] = lambda: None) -> RunRow:
    """Show a run until it has ended or was interrupted; return it.

    Args:
        name: Name of the run.
        show: Whether to show anything; otherwise only wait.
        check: Called ten times a second; what it raises ends the following.
    """
    picture = Picture(name)
    if not show:
        while not _ended(name, _PLAIN_PACE, check):
            pass
    elif render.console(stderr=True).is_terminal:
        _follow_live(picture, check)
    else:
        _follow_plainly(picture, check)
    return link.get(name)


def counts(key: int) -> Counts:
    """Return how many actions of each task are in which phase."""
    found: Counts = {}
    for each in link.views().counts(key):
        phases = found.setdefault(each.task, {})
        phases[each.phase] = phases.get(each.phase, 0) + each.actions
    return found


def _preparing(key: int) -> str:
    """Return which environment is being built for a run, if one is."""
    told = [each.text for each in link.views().environments(key)]
    building = [text for text in told if text.startswith("building")]
    return building[-1].partition(";")[0] if 2 * len(building) > len(told) else ""


def _follow_live(picture: Picture, check: Callable[[], None]) -> None:
    from rich.live import Live

    with Live(console=render.console(stderr=True), auto_refresh=False) as live:
        ended = False
        while True:
            pause = picture.look()
            live.update(picture.draw(), refresh=True)
            if ended:
                return  # the last picture shows the end
            ended = _ended(picture.name, pause, check)


def _follow_plainly(picture: Picture, check: Callable[[], None]) -> None:
    last, pace, cause = "", 0.2, None
    while not _ended(picture.name, pace, check):
        picture.look()
        pace = _PLAIN_PACE
        if picture.counts and (line := picture.line()) != last:
            click.echo(line, err=True)
            last = line
        if picture.still.cause not in (None, cause):
            click.echo(f"{picture.name}: {picture.still.line}", err=True)
        cause = picture.still.cause


def _ended(name: str, seconds: float, check: Callable[[], None]) -> bool:
    """Wait for the end of the run, but not longer than that; return whether it has come."""
    deadline = time.monotonic() + seconds
    while True:
        check()
        left = deadline - time.monotonic()
        if _ends_within(name, max(0.0, min(left, _PACE))):
            return True
        if left <= _PACE:
            return False


def _ends_within(name: str, seconds: float) -> bool:
    """Wait a moment; return whether the run has ended.

    The runtime of this process knows best. Its journal lags a moment behind: a run that was just
    resumed still looks interrupted there.
    """
    runtime = link.running()
    if runtime is not None:
        return runtime.wait(name, seconds) is not None
    phase = link.get(name).phase
    if phase.final or phase is Phase.INTERRUPTED:
        return True
    time.sleep(seconds)
    return False


def _elapsed(row: RunRow) -> float:
    return (row.ended or time.time()) - row.created


def _done(table: Counts) -> int:
    return sum(n for each in table.values() for phase, n in each.items() if phase.final)


def _total(table: Counts) -> int:
    return sum(n for each in table.values() for n in each.values())


def _task_row(task: str, phases: dict[Phase, int]) -> "tuple[RenderableType, ...]":
    from rich.text import Text

    total = sum(phases.values())
    done = sum(n for phase, n in phases.items() if phase.final)
    return (
        Text(f"  {task}"),
        _bar(phases, total),
        Text(f"{render.number(done)}/{render.number(total)}"),
        render.summary((phase, phases.get(phase, 0)) for phase in _ORDER),
    )


def _bar(phases: dict[Phase, int], total: int) -> "RenderableType":
    from rich.text import Text

    bar, filled = Text(), 0
    for phase in (Phase.SUCCEEDED, Phase.CACHED, Phase.FAILED, Phase.ABORTED, Phase.RUNNING):
        count = phases.get(phase, 0)
        # what exists is seen, however small; the bar is full only when everything is done
        cells = min(max(round(_BAR * count / total), 1), _BAR - filled) if count else 0
        bar.append("━" * cells, style=render.LOOK[phase][2])
        filled += cells
    return bar.append("━" * (_BAR - filled), style="grey23")
