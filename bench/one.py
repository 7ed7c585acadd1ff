"""Runs one workload in a fresh home and prints its figures as JSON: ``python bench/one.py``."""

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main(name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-", dir=os.environ.get("TMPDIR")) as home:
        os.environ["PERDURE_HOME"] = home
        import workloads

        import perdure

        task, arguments = workloads.WORKLOADS[name]
        before = workloads.peak_mb()
        figures = perdure.run(task, **arguments).result()
        figures["controller_growth_mb"] = workloads.peak_mb() - before
        from perdure import _embedded

        _embedded.runtime().shutdown()
        figures["journal_mb"] = sum(p.stat().st_size for p in Path(home).glob("journal.db*")) / 1e6
    print(json.dumps({"workload": name, **{k: round(v, 3) for k, v in figures.items()}}))


if __name__ == "__main__":
    main(sys.argv[1])
