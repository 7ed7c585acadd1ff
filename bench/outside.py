"""The workloads that are whole processes: the import, and the cold start of a script."""

import os
import statistics
import subprocess
import sys
import time

from catalogue import PEERS
from child import HERE, Figures

IMPORT = """
import time; start = time.perf_counter()
{first}
alone = time.perf_counter() - start
{rest}
print(1e3 * alone, 1e3 * (time.perf_counter() - start))
from child import peak_mb
print(peak_mb())
"""


def import_(peer: str, samples: int) -> Figures:
    """What a script pays before it can define its first task; and for the first statement alone."""
    first, _, rest = PEERS[peer].imports.partition("; ")
    code = IMPORT.format(first=first, rest=rest)
    output([sys.executable, "-c", code])  # compiles what has not been compiled
    rows = [output([sys.executable, "-c", code]).split()[-3:] for _ in range(samples)]
    alone, ready, memory = (statistics.median(map(float, row)) for row in zip(*rows, strict=True))
    return {"import_ms": ready, "statement_ms": alone, "driver_peak_mb": memory}


def cold_start(peer: str, samples: int) -> Figures:
    """A script with one task, from its start to its end, in a home that has seen it before."""
    command = [sys.executable, str(HERE / "hello" / f"with_{PEERS[peer].module}.py")]
    output(command)  # makes the home and compiles
    seconds = []
    for _ in range(samples):
        start = time.perf_counter()
        assert "hello you" in output(command)
        seconds.append(time.perf_counter() - start)
    return {"wall_s": statistics.median(seconds)}


def output(command: list[str]) -> str:
    """Run a command here and return what it prints."""
    done = subprocess.run(command, cwd=HERE, env=os.environ, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()
