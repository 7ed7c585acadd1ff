"""``make bench``: the same workloads on Perdure and its peers, interleaved, and a page of results.

python bench [--rounds N] [--peers a,b] [--workloads "map 1M,retries"] [--smoke] [--add]
python bench --render          write the page again from what was measured last
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import machine
import measure
import report
from catalogue import PEERS, WORKLOADS
from child import HERE
from results import Results, Sample

ROOT = HERE.parent
PATIENCE_WITH_US = 4
"""Perdure is the subject: it may take so much longer than a peer for all rounds of a workload."""


def main(arguments: list[str]) -> int:
    """Measure, and write the page after every round."""
    given = parse(arguments)
    # So that what is being measured is ended, too: it is in a session of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    page: Path = given.output / "benchmarks.md"
    kept = page.with_suffix("") / "results.json"
    if given.render:
        report.write(Results.load(kept), page)
        return 0
    pythons = {peer: python(peer, given.here) for peer in given.peers}
    if missing := {path.parent.parent.name for path in pythons.values() if not path.exists()}:
        print(f"no environment {', '.join(missing)}: make bench makes them; --here does without")
        return 2
    results = Results.load(kept) if given.add and kept.exists() else Results()
    known = results.machine.get("versions", {})
    results.machine = machine.describe(pythons) | {
        "commit": commit(),
        "sessions": results.machine.get("sessions", 0) + 1,
    }
    results.machine["versions"] = known | results.machine["versions"]
    before = len(results.samples)
    for turn in range(given.rounds):
        for workload, peer in worthwhile(given, turn, results.samples[before:]):
            sample = one(workload, peer, pythons[peer], given.smoke)
            say(turn, sample)
            results.samples.append(sample)
            results.save(kept)
        report.write(results, page)
    print(f"wrote {page}")
    return 1 if given.smoke and any(each.failed for each in results.samples) else 0


def worthwhile(
    given: argparse.Namespace, turn: int, done: list[Sample]
) -> Iterator[tuple[str, str]]:
    """Yield the workloads and peers of a round, without those that have taken long enough.

    Each round begins with another peer: the first one finds the disk and the memory of the machine
    in another state than those after it.
    """
    first = turn % len(given.peers)
    for workload in given.workloads:
        peers = [*given.peers[first:], *given.peers[:first]]
        for peer in (each for each in peers if each in WORKLOADS[workload].peers):
            took = [each.took for each in done if (each.workload, each.peer) == (workload, peer)]
            patience = given.patience * (PATIENCE_WITH_US if peer.startswith("perdure") else 1)
            if not took or sum(took) + took[-1] <= patience:
                yield workload, peer


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=names(PEERS), default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument(
        "--workloads", type=names(WORKLOADS), default=list(WORKLOADS), help=", ".join(WORKLOADS)
    )
    parser.add_argument("--smoke", action="store_true", help="one round, as small as can be")
    parser.add_argument(
        "--patience",
        type=float,
        default=30.0,
        help="seconds that a peer may take for all rounds of a workload; once is always done",
    )
    parser.add_argument("--add", action="store_true", help="add to what was measured before")
    parser.add_argument("--render", action="store_true", help="only write the page again")
    parser.add_argument(
        "--here", action="store_true", help="use this Python, not the environments under .venvs"
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs", help="folder of benchmarks.md"
    )
    given = parser.parse_args(arguments)
    if given.smoke:  # sizes do not matter: every function once is enough
        given.rounds = 1
        seen = {WORKLOADS[name].function: name for name in reversed(given.workloads)}
        given.workloads = [name for name in given.workloads if name in seen.values()]
    return given


def names(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    """Return a reader of comma-separated names."""

    def read(text: str) -> list[str]:
        wanted = [each.strip() for each in text.split(",")]
        unknown = [each for each in wanted if each not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
        return [each for each in known if each in wanted]

    return read


def python(peer: str, here: bool) -> Path:
    """Return the Python that a peer runs with."""
    return Path(sys.executable) if here else ROOT / ".venvs" / PEERS[peer].venv / "bin" / "python"


def one(workload: str, peer: str, python: Path, smoke: bool) -> Sample:
    """Run a workload once."""
    command = [str(python), str(HERE / "one.py"), workload, "--peer", peer]
    command += ["--smoke"] if smoke else []
    sample = Sample(workload, peer, time.time())
    start = time.perf_counter()
    try:
        figures = measure.run(command, os.environ, WORKLOADS[workload].timeout)
        del figures["workload"], figures["peer"]
        sample.figures = {
            key: round(value, 4) if isinstance(value, float) else value
            for key, value in figures.items()
        }
    except measure.MeasurementError as error:
        sample.failed = str(error)
    sample.took = time.perf_counter() - start
    return sample


def say(turn: int, sample: Sample) -> None:
    """Print a line about a run."""
    workload = WORKLOADS[sample.workload]
    value = sample.figures.get(workload.figure)
    result = f"{report.number(value)} {workload.unit}" if value is not None else sample.failed
    now = datetime.now().strftime("%H:%M:%S")
    print(f"{now} round {turn + 1}  {sample.workload:22} {PEERS[sample.peer].title:20} {result}"
          f"  ({sample.took:.0f} s)", flush=True)  # fmt: skip


def commit() -> str:
    """Return the commit that was measured, marked if files were changed since."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
