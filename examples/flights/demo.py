"""The promise, on real input: kill everything half way, go on, and lose nothing.

Called by ``make demo``. Two runs of the same pipeline: one is killed with SIGKILL in the middle and
resumed, the other is left alone. Every claim is checked; one that does not hold ends the demo with
exit status 1.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import perdure
import processes

FOLDER = Path(".demo").absolute()
TRAIL = FOLDER / "executions.txt"
SCRIPT = Path(__file__).with_name("flights.py")
KILLED, UNDISTURBED = "killed", "undisturbed"
ACTIONS = 120
"""Actions of a whole run: used for the progress bar and to know when half of it is done."""

console = Console(highlight=False)
failed_claims: list[str] = []


@dataclass(frozen=True)
class Killed:
    """What was known right after the kill.

    Attributes:
        finished: The actions that had an outcome, by id: task name and when it ended.
        trail: Executions that had been started.
        seconds: From the start to the kill.
    """

    finished: dict[str, tuple[str, float]]
    trail: int
    seconds: float


def main() -> int:
    """Run the demo."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    os.environ |= {"PERDURE_HOME": str(FOLDER / "home"), "FLIGHTS_TRAIL": str(TRAIL)}
    console.print("\n[bold]336,776 flights, one pipeline, one SIGKILL[/]\n")

    headline(1, "Run it, and kill every process of it half way")
    killed = run_and_kill()
    headline(2, "Resume it")
    resumed = follow("resume", [KILLED], KILLED, ACTIONS)
    check_reuse(killed)
    headline(3, "Run the same pipeline undisturbed, and compare")
    undisturbed = follow("run", pipeline(UNDISTURBED), UNDISTURBED, ACTIONS)
    compare()

    show_timings(killed.seconds, resumed, undisturbed)
    if failed_claims:
        console.print(f"[bold red]{len(failed_claims)} claims did not hold:[/]", *failed_claims)
        return 1
    console.print("[bold green]Every claim held.[/]\n")
    return 0


def run_and_kill() -> Killed:
    """Start the pipeline, wait until half of it is done, SIGKILL its process group."""
    started = time.monotonic()
    process = start("run", pipeline(KILLED), KILLED)
    watch(process, KILLED, ACTIONS // 2)
    family = processes.family(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    seconds = time.monotonic() - started
    process.wait()
    deadline = time.monotonic() + 5
    while (left := processes.alive(family)) and time.monotonic() < deadline:
        time.sleep(0.02)
    console.print(f"  [bold]kill -9[/] after {seconds:.0f} s: {len(family)} processes")
    claim(not left, "nothing of it is left running")
    run = perdure.get_run(KILLED)
    claim(run.phase == "interrupted", "the run is known to be interrupted")
    return Killed(finished(KILLED), len(executions(KILLED)), seconds)


def check_reuse(killed: Killed) -> None:
    """Check that what had finished before the kill was kept and did not run again."""
    before, after = killed.finished, finished(KILLED)
    trail = executions(KILLED)
    again = [action for action in trail[killed.trail :] if action in before]
    show_reuse(Counter(task for task, _ in before.values()), after)
    claim(
        all(after.get(action) == recorded for action, recorded in before.items()),
        f"all {len(before)} outcomes recorded before the kill are still there, unchanged",
    )
    claim(not again, "none of those actions ran again")
    runs = Counter(trail)
    claim(
        all(runs[action] == 1 for action in before),
        "each of them ran exactly once, by the record that the tasks keep themselves",
    )


def compare() -> None:
    """Check that both runs came to the same result."""
    one, other = (perdure.get_run(name).result() for name in (KILLED, UNDISTURBED))
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bright_black")
    for column in ("", KILLED + " and resumed", UNDISTURBED):
        table.add_column(column, no_wrap=True)
    for name, first, second in (
        ("held-out AUC", *(f"{r.scores['boosting'].auc:.6f}" for r in (one, other))),
        ("held-out log loss", *(f"{r.scores['boosting'].log_loss:.6f}" for r in (one, other))),
        ("predictions", one.predictions[:16], other.predictions[:16]),
        ("report", one.published.report_digest[:16], other.published.report_digest[:16]),
    ):
        table.add_row("  " + name, first, second)
    console.print(table)
    console.print(f"  chosen model: {one.best}")
    claim(comparable(one) == comparable(other), "the results are equal, to the last bit")
    console.print(f"\n  report  {os.path.relpath(one.published.report)}")
    console.print(f"  model   {os.path.relpath(one.published.model)}")


def comparable(result: Any) -> dict[str, Any]:
    """Return a result without the paths, which differ by design."""
    values = asdict(result)
    return values | {"published": values["published"]["report_digest"]}


def pipeline(name: str) -> list[str]:
    """Return the arguments that run the pipeline under ``name``."""
    return ["--name", name, str(SCRIPT), "--out", str(FOLDER / name)]


def start(verb: str, arguments: list[str], name: str) -> subprocess.Popen[bytes]:
    """Start ``perdure VERB ...`` as the leader of a process group of its own."""
    with (FOLDER / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "perdure", verb, *arguments],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def follow(verb: str, arguments: list[str], name: str, goal: int) -> float:
    """Run ``perdure VERB ...`` to its end and return how many seconds it took."""
    started = time.monotonic()
    process = start(verb, arguments, name)
    watch(process, name, goal)
    status = process.wait()
    claim(status == 0, f"perdure {verb} ended well")
    if status:
        console.print((FOLDER / f"{name}.log").read_text(), style="red", markup=False)
        sys.exit(1)
    return time.monotonic() - started


def watch(process: subprocess.Popen[bytes], name: str, goal: int) -> None:
    """Show progress until ``goal`` actions have finished or the process has ended."""
    columns = (
        TextColumn(" "), SpinnerColumn(), BarColumn(40), TextColumn("{task.completed} actions"),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=ACTIONS)
        done = 0
        while done < goal and process.poll() is None:
            time.sleep(0.1)
            done = len(finished(name))
            progress.update(bar, completed=done)
    if done < goal // 2:
        console.print((FOLDER / f"{name}.log").read_text(), style="red", markup=False)
        sys.exit(f"The run ended early, with {done} actions finished.")


def finished(name: str) -> dict[str, tuple[str, float]]:
    """Return the actions that have succeeded, by id: task name and when they ended."""
    try:
        actions = perdure.get_run(name).actions(phase="succeeded")
    except perdure.errors.RunNotFoundError:
        return {}  # just starting
    return {action.id: (action.task, action.ended) for action in actions}


def executions(name: str) -> list[str]:
    """Return the action of every execution the tasks of a run have put on record themselves."""
    lines = (line.split() for line in TRAIL.read_text().splitlines())
    return [action for run, action, _ in lines if run == name]


def claim(holds: bool, text: str) -> None:
    """Print whether a claim holds, and remember if it does not."""
    console.print(f"  {'[green]✓[/]' if holds else '[bold red]✗[/]'} {text}")
    if not holds:
        failed_claims.append(text)


def headline(number: int, text: str) -> None:
    """Print the title of a step."""
    console.print(f"[bold cyan]{number}[/] [bold]{text}[/]")


def show_reuse(before: Counter[str], after: dict[str, tuple[str, float]]) -> None:
    """Print how many actions of each task were reused, and how many still had to run."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bright_black")
    table.add_column("  task")
    table.add_column("reused", justify="right")
    table.add_column("run after the kill", justify="right")
    for task, total in Counter(task for task, _ in after.values()).items():
        table.add_row(f"  {task}", str(before[task] or "·"), str(total - before[task] or "·"))
    console.print(table)


def show_timings(killed: float, resumed: float, undisturbed: float) -> None:
    """Print what the kill has cost."""
    console.print(
        f"\n  {killed:.0f} s until the kill + {resumed:.0f} s after it = {killed + resumed:.0f} s; "
        f"undisturbed {undisturbed:.0f} s"
    )
    home = os.path.relpath(os.environ["PERDURE_HOME"])
    console.print(f"  look closer with  PERDURE_HOME={home} perdure show {KILLED}\n")


if __name__ == "__main__":
    sys.exit(main())
