"""Run one workload on one peer in this process and print its figures as JSON.

    python bench/one.py "fan-out 10k async" [--peer ray] [--smoke] [n=2000 ...]

Without ``--peer`` it is Perdure. A peer's module must be importable here: ``make bench`` runs this
in the peer's own environment.
"""

import argparse
import importlib
import json
import os
import tempfile
from pathlib import Path
from typing import cast

import outside
from catalogue import PEERS, WORKLOADS
from child import Figures, peak_mb


def run(workload: str, peer: str, scratch: Path, arguments: dict[str, object]) -> Figures:
    """Run a workload with everything it writes under ``scratch``; return its figures."""
    # Nobody's settings, caches and tokens are read or left behind.
    os.environ |= {"HOME": str(scratch), "PERDURE_HOME": str(scratch / "perdure")}
    function = WORKLOADS[workload].function
    if hasattr(outside, function):
        return cast("Figures", getattr(outside, function)(peer, **arguments))
    module = importlib.import_module(f"peers.{PEERS[peer].module}")
    figures: Figures = getattr(module, function)(scratch, **arguments)
    return {"driver_peak_mb": peak_mb(), **figures}


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "workload", choices=WORKLOADS, metavar="WORKLOAD", help=", ".join(WORKLOADS)
    )
    parser.add_argument("arguments", nargs="*", help="other sizes: n=2000")
    parser.add_argument("--peer", choices=PEERS, default="perdure")
    parser.add_argument("--smoke", action="store_true", help="as small as it can be")
    given = parser.parse_args()
    arguments = WORKLOADS[given.workload].arguments(given.peer, smoke=given.smoke)
    for each in given.arguments:
        key, _, value = each.partition("=")
        arguments[key] = json.loads(value)
    os.environ |= PEERS[given.peer].environ
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
        figures = run(given.workload, given.peer, Path(scratch), arguments)
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}
    print(json.dumps({"workload": given.workload, "peer": given.peer, **rounded}))


if __name__ == "__main__":
    main()
