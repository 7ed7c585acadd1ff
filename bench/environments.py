"""How long a process takes whose three tasks want three versions of a package.

``python bench/environments.py`` builds their environments once and prints what every process after
that takes: from its start to its end, and from ``perdure.run`` to the result.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = Path(__file__).parent / "hello" / "with_environments.py"
SAMPLES = 10


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as home:
        environ = os.environ | {"PERDURE_HOME": home}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)  # it would time the compiler, each time anew
        run(environ)  # builds and compiles
        rows = [run(environ) for _ in range(SAMPLES)]
    for what, row in zip(("whole process", "run to result"), zip(*rows, strict=True), strict=True):
        print(f"{what}: {statistics.median(row):.2f} s ({min(row):.2f} to {max(row):.2f})")


def run(environ: dict[str, str]) -> tuple[float, float]:
    """Run the script once; return what it took, from outside and from inside."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environ, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    *versions, inside = done.stdout.split()
    assert versions == ["23.1.0", "24.2.0", "25.3.0"], done.stdout
    return took, float(inside)


if __name__ == "__main__":
    main()
