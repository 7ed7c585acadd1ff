"""The promise, on real input: kill everything half way, go on, and lose nothing; then do less.

Called by ``make demo``. Runs of the same pipeline: one is killed with SIGKILL in the middle and
resumed, one is left alone, one finds everything in the cache, and one everything but a chart that
was edited. Every claim is checked; one that does not hold ends the demo with exit status 1.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import perdure
import processes

FOLDER = Path(".demo").absolute()
TRAIL = FOLDER / "executions.txt"
SCRIPT = Path(__file__).with_name("flights.py")
KILLED, UNDISTURBED, AGAIN, EDITED = "killed", "undisturbed", "again", "edited"
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
    resumed = follow("resume", [KILLED], KILLED)
    check_reuse(killed)
    headline(3, "Run the same pipeline undisturbed, without the cache, and compare")
    undisturbed = follow("run", ["--disable-run-cache", *pipeline(UNDISTURBED)], UNDISTURBED)
    compare()
    headline(4, "Run it once more, then with an edited chart")
    again = run_again()
    edited = run_edited()

    show_timings(killed.seconds + resumed, undisturbed, again, edited)
    if failed_claims:
        console.print(f"[bold red]{len(failed_claims)} claims did not hold:[/]", *failed_claims)
        return 1
    console.print("[bold green]Every claim held.[/]\n")
    return 0


def run_and_kill() -> Killed:
    """Start the pipeline, wait until half of it is done, SIGKILL its process group."""
    started = time.monotonic()
    process = start("run", pipeline(KILLED), KILLED)
    if watch(process, KILLED, ACTIONS // 2) < ACTIONS // 2:
        give_up(KILLED)
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
        ("report", *(digest(name, "report.html")[:16] for name in (KILLED, UNDISTURBED))),
        ("model", *(digest(name, "model.pickle")[:16] for name in (KILLED, UNDISTURBED))),
    ):
        table.add_row("  " + name, first, second)
    console.print(table)
    console.print(f"  chosen model: {one.best}")
    claim(
        one == other
        and digest(KILLED, "report.html") == digest(UNDISTURBED, "report.html")
        and digest(KILLED, "model.pickle") == digest(UNDISTURBED, "model.pickle"),
        f"results, report and model are equal, to the last bit: both are {one.model}",
    )


def digest(name: str, file: str) -> str:
    """Return a digest of what a run has written to its folder."""
    return hashlib.sha256((FOLDER / name / file).read_bytes()).hexdigest()


def run_again() -> float:
    """Run the pipeline once more: what the killed run has computed is in the cache."""
    seconds = follow("run", pipeline(AGAIN), AGAIN)
    cached = perdure.get_run(AGAIN).actions(phase="cached")
    claim(
        executed(AGAIN) == ["flights.main"],
        f"only flights.main ran, {seconds:.1f} s with everything; {len(cached)} results were found",
    )
    claim(digest(AGAIN, "report.html") == digest(KILLED, "report.html"), "the report is the same")
    return seconds


def run_edited() -> float:
    """Edit one helper of the report in a copy of the example, and run that."""
    folder = FOLDER / "example"
    shutil.copytree(SCRIPT.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    charts = folder / "charts.py"
    charts.write_text(charts.read_text().replace('label="late"', 'label="late by 15 minutes"'))
    seconds = follow("run", pipeline(EDITED, folder / SCRIPT.name), EDITED)
    claim(
        executed(EDITED) == ["flights.main", "flights.render"],
        "with another legend in a chart, only flights.render ran, too",
    )
    claim(digest(EDITED, "report.html") != digest(KILLED, "report.html"), "the report has it")
    (render,) = perdure.get_run(EDITED).actions(task="flights.render")
    console.print(f"\n  [bold]perdure cache explain {EDITED} {render.seq}[/]")
    told = perdure_command("cache", "explain", EDITED, str(render.seq))
    for line in subprocess.check_output(told, text=True).splitlines():
        console.print(f"  {line}", markup=False)
    return seconds


def executed(name: str) -> list[str]:
    """Return the tasks that have put executions on record in a run, each once, by name."""
    tasks = {action.id: action.task for action in perdure.get_run(name).actions()}
    return sorted({tasks[action] for action in executions(name)})


def pipeline(name: str, script: Path = SCRIPT) -> list[str]:
    """Return the arguments that run the pipeline under ``name``."""
    return ["--name", name, str(script), "--out", str(FOLDER / name)]


def perdure_command(*arguments: str) -> list[str]:
    """Return a command of ``perdure``."""
    return [sys.executable, "-m", "perdure", *arguments]


def start(verb: str, arguments: list[str], name: str) -> subprocess.Popen[bytes]:
    """Start ``perdure VERB ...`` as the leader of a process group of its own."""
    with (FOLDER / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            perdure_command(verb, *arguments),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def follow(verb: str, arguments: list[str], name: str) -> float:
    """Run ``perdure VERB ...`` to its end and return how many seconds it took."""
    started = time.monotonic()
    process = start(verb, arguments, name)
    watch(process, name, ACTIONS)
    status = process.wait()
    seconds = time.monotonic() - started
    claim(status == 0, f"perdure {verb} ended well")
    if status:
        give_up(name)
    return seconds


def watch(process: subprocess.Popen[bytes], name: str, goal: int) -> int:
    """Show progress until ``goal`` actions have finished or the process has ended."""
    columns = (
        TextColumn(" "), SpinnerColumn(), BarColumn(40), TextColumn("{task.completed} actions"),
        TimeElapsedColumn(),
    )  # fmt: skip
    done = 0
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=ACTIONS)
        while done < goal and process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
            done = len(finished(name))
            progress.update(bar, completed=done)
    return done


def give_up(name: str) -> NoReturn:
    """Show what a run has printed, and end the demo."""
    console.print((FOLDER / f"{name}.log").read_text(), style="red", markup=False)
    sys.exit(f"The run {name} did not do what it should.")


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


def show_timings(killed: float, undisturbed: float, again: float, edited: float) -> None:
    """Print what the kill has cost, what the cache has saved, and where to look."""
    console.print(
        f"\n  killed and resumed {killed:.0f} s, undisturbed {undisturbed:.0f} s, "
        f"once more {again:.1f} s, with an edited chart {edited:.1f} s\n"
    )
    home = os.path.relpath(FOLDER / "home")
    console.print(f"  report  {os.path.relpath(FOLDER / KILLED / 'report.html')}")
    console.print(f"  model   PERDURE_HOME={home} perdure artifact show flights/model")
    console.print(f"  runs    PERDURE_HOME={home} perdure show {AGAIN}\n")


if __name__ == "__main__":
    sys.exit(main())
