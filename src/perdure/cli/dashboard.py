"""The picture that ``perdure top`` shows: the machine, what runs, and what waits for what.

It has as many lines as the terminal: what there is more of is counted.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from perdure.cli import render
from perdure.client import wording
from perdure.client.words import amount, amounts, duration, number, rate, size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from perdure._core.overview import AttemptState, Overview, PoolState, QueuePart, RunState
    from perdure.client.measuring import MachineUse, Use
    from perdure.client.survey import Picture, Seen

_BAR = 20
_POOLS, _RUNS = 0.2, 0.3
"""Parts of the lines that the tables of workers (and of queues) and of runs may have; the actions
have the rest."""

_TWO_TABLES, _ALL_TABLES = 9, 15
"""Lines without which there is no table of runs, and none of workers or queues."""


def drawn(picture: "Picture", height: int) -> "RenderableType":
    """Return the picture, in so many lines at most."""
    from rich.console import Group
    from rich.text import Text

    overviews = [each.overview for each in picture.controllers if each.overview is not None]
    head = [_title(picture, overviews), *_machine(picture), *_waiting(overviews)]
    for text in head:
        text.no_wrap, text.overflow = True, "ellipsis"
    lines: list[RenderableType] = [*head]
    pools = [pool for each in overviews for pool in each.pools]
    runs = [run for each in overviews for run in each.runs]
    attempts = [attempt for each in overviews for attempt in each.running]
    left = height - len(lines)
    if pools and left >= _ALL_TABLES:
        lines += [Text(""), _pools(pools, _share(left, _POOLS))]
        left -= min(len(pools), _share(left, _POOLS) + 1) + 2
    queues = _merged(queue for each in overviews for queue in each.queues)
    if queues and left >= _ALL_TABLES:
        lines += [Text(""), _queues(queues, _share(left, _POOLS))]
        left -= min(len(queues), _share(left, _POOLS) + 1) + 2
    if runs and left >= _TWO_TABLES:
        more = sum(each.run_count for each in overviews) - len(runs)
        lines += [Text(""), _runs(runs, more, picture.at, _share(left, _RUNS))]
        left -= min(len(runs) + bool(more), _share(left, _RUNS) + 1) + 2
    if attempts:
        more = sum(each.running_count for each in overviews) - len(attempts)
        attempts.sort(key=lambda each: each.since)
        lines += [Text(""), _attempts(attempts, max(0, more), picture, max(1, left - 3))]
    if not runs:
        lines += [Text(""), Text(_nothing(picture), "bright_black")]
    return Group(*lines)


def _share(lines: int, part: float) -> int:
    return max(1, int(lines * part))


def _nothing(picture: "Picture") -> str:
    if any(each.overview is None for each in picture.controllers):
        return "what else goes on is not known: see above"
    if any(each.overview.dormant for each in picture.controllers if each.overview):
        return "all runs rest until a time comes, or an answer"
    return f"no process drives a run in {picture.home}"


def _title(picture: "Picture", overviews: "Sequence[Overview]") -> "Text":
    from rich.text import Text

    running = sum(each.running_count for each in overviews)
    waiting = sum(sum(each.waiting.values()) for each in overviews)
    parts = [
        _counted(sum(each.run_count for each in overviews), "run"),
        f"{number(running)} running",
        f"{number(waiting)} waiting",
        _counted(len(picture.controllers), "process", "es"),
    ]
    if dormant := sum(each.dormant for each in overviews):
        parts.insert(1, f"{number(dormant)} more at rest")
    title = Text.assemble(("perdure", "bold"), f"  {render.when(picture.at)}  ")
    return title.append(" · ".join(parts), "bright_black")


def _counted(count: int, what: str, plural: str = "s") -> str:
    return f"{number(count)} {what}{'' if count == 1 else plural}"


# --- the machine ----------------------------------------------------------------------------------


def _machine(picture: "Picture") -> "list[Text]":
    from rich.text import Text

    lines: list[Text] = []
    used = _used(picture.machine)
    if used.plain:
        lines.append(Text.assemble(("in use    ", "bright_black"), used))
    for each in picture.controllers:
        label = "asked for " if len(picture.controllers) == 1 else f"{each.pid:<10}"
        lines.append(Text.assemble((label, "bright_black"), _asked(each)))
    return lines


def _used(machine: "MachineUse") -> "Text":
    from rich.text import Text

    text = Text()
    if machine.cpu is not None:
        text.append_text(_bar(machine.cpu / machine.cores))
        text.append(f" {machine.cpu:.1f} of {machine.cores} cpu   ")
    if machine.memory is not None and machine.total:
        text.append_text(_bar(machine.memory / machine.total))
        text.append(f" {size(machine.memory)} of {size(machine.total)} memory")
    return text


def _bar(part: float) -> "Text":
    from rich.text import Text

    filled = min(_BAR, max(0, round(_BAR * part)))
    colour = "green" if part < 0.7 else "yellow" if part < 0.9 else "red"
    return Text.assemble(("━" * filled, colour), ("━" * (_BAR - filled), "grey23"))


def _asked(seen: "Seen") -> "Text":
    from rich.text import Text

    found = seen.overview
    if found is None:
        return Text("does not answer", "yellow")
    parts = []
    for name, total in found.total.items():
        taken = total - found.free.get(name, 0.0)
        if taken > 0 or name in ("cpu", "memory", "gpu"):
            parts.append(f"{amount(name, taken)} of {amount(name, total)} {name}")
    text = Text(" · ".join(parts))
    if found.ceiling is not None:
        few = f"   short of memory: {_counted(found.ceiling, 'worker')} at most may be busy"
        text.append(few, "yellow")
    return text


def _waiting(overviews: "Sequence[Overview]") -> "list[Text]":
    from rich.text import Text

    counts: Counter[str] = Counter()
    for each in overviews:
        counts.update(each.waiting)
    if not counts:
        return []
    found = (
        f"{number(n)} for {wording.COUNTED.get(kind, kind)}" for kind, n in counts.most_common()
    )
    return [Text.assemble(("waiting   ", "bright_black"), " · ".join(found))]


# --- tables ---------------------------------------------------------------------------------------


def _table(*columns: str) -> "Table":
    """Return a table each of whose rows is one line; the first column gives way."""
    table = render.grid(*columns, header=True)
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    return table


def _pools(pools: "Sequence[PoolState]", rows: int) -> "Table":
    table = _table("WORKERS", ">BUSY", ">IDLE", ">HOLD", ">STARTING", ">MOST", ">WANTED BY", "")
    for each in pools[:rows]:
        table.add_row(
            _pool_name(each), number(each.busy), number(each.idle), number(each.hosting),
            number(each.starting), number(each.most) if each.most else "-", number(each.queued),
            each.delay.partition("; log: ")[0],
        )  # fmt: skip
    _add_rest(table, len(pools) - rows)
    return table


def _pool_name(pool: "PoolState") -> str:
    parts = [pool.environment or "shared", "async" if pool.is_async else "sync"]
    if pool.image:
        parts.append(f"image {pool.image}")
    if pool.gpu:
        parts.append(f"gpu {pool.gpu:g}")
    if pool.run:
        parts.append(f"of {pool.run}")
    return " ".join(parts)


def _merged(queues: "Iterable[QueuePart]") -> "list[QueuePart]":
    """Return each queue once, with what all processes have of it; the longest line first."""
    found: dict[str, QueuePart] = {}
    for each in queues:
        there = found.setdefault(each.name, each)
        if there is not each:
            used, waiting = there.used + each.used, there.waiting + each.waiting
            held = there.held_back + each.held_back
            found[each.name] = msgspec.structs.replace(
                there, used=used, waiting=waiting, held_back=held
            )
    return sorted(found.values(), key=lambda each: (-each.waiting, each.name))


def _in_line(queue: "QueuePart") -> str:
    held = f" + {number(queue.held_back)} held back" if queue.held_back else ""
    return number(queue.waiting) + held


def _queues(queues: "Sequence[QueuePart]", rows: int) -> "Table":
    table = _table("QUEUE", ">RUNNING", ">AT ONCE", ">RATE", ">WAITING")
    for each in queues[:rows]:
        table.add_row(
            each.name, number(each.used), number(each.concurrency) if each.concurrency else "-",
            rate(each.starts, each.period) or "-", _in_line(each),
        )  # fmt: skip
    _add_rest(table, len(queues) - rows)
    return table


def _runs(runs: "list[RunState]", more: int, now: float, rows: int) -> "Table":
    table = _table("RUN", "TASK", ">ON WORKERS", ">IN FLIGHT", ">FOR")
    runs.sort(key=lambda each: (each.running, each.actions), reverse=True)
    for each in runs[:rows]:
        table.add_row(
            each.name, each.task, number(each.running), number(each.actions),
            duration(now - each.created),
        )  # fmt: skip
    _add_rest(table, max(0, len(runs) - rows) + more)
    return table


def _attempts(
    attempts: "Sequence[AttemptState]", more: int, picture: "Picture", rows: int
) -> "Table":
    table = _table("RUNNING", "RUN", ">TRY", ">FOR", ">PID", ">CPU", ">MEMORY", "ASKED FOR")
    for each in attempts[:rows]:
        use = picture.uses.get(each.pid)
        table.add_row(
            wording.named(each.action, each.action.run), each.action.run, str(each.attempt),
            duration(picture.at - each.since), str(each.pid or ""), *_measured(use, each.beside),
            amounts(each.asked),
        )  # fmt: skip
    _add_rest(table, max(0, len(attempts) - rows) + more)
    return table


def _measured(use: "Use | None", beside: int) -> Iterable[str]:
    """Return what a worker uses, which is said of all that share it."""
    if use is None:
        return "", ""
    shared = "*" if beside else ""
    cpu = "" if use.cpu is None else f"{100 * use.cpu:.0f}%{shared}"
    return cpu, f"{size(use.memory)}{shared}"


def _add_rest(table: "Table", more: int) -> None:
    from rich.text import Text

    if more > 0:
        table.add_row(Text(f"... {number(more)} more", "bright_black"))
