"""The benchmark suite works: every workload gives its figures, and the page can be written."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PEERS = ("perdure", "processes")


def bench(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "bench", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def ask(expression: str) -> Any:
    """Return what an expression over the catalogue is: the suite is no package to import here."""
    code = f"import json; from catalogue import *; print(json.dumps({expression}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "bench", capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_every_function_gives_its_figure_and_the_page_is_written_of_them(tmp_path: Path) -> None:
    bench("--smoke", "--here", "--peers", ",".join(PEERS), "--output", str(tmp_path))
    samples = json.loads((tmp_path / "benchmarks" / "results.json").read_text())["samples"]
    page = (tmp_path / "benchmarks.md").read_text()
    workloads = ask("{k: [w.function, w.figure, list(w.peers)] for k, w in WORKLOADS.items()}")
    titles = ask("{k: w.title for k, w in WORKLOADS.items()}")

    got = {(workloads[each["workload"]][0], each["peer"], *each["figures"]) for each in samples}
    missing = [
        (function, peer, figure)
        for function, figure, peers in workloads.values()
        for peer in set(PEERS) & set(peers)
        if not any(each[:2] == (function, peer) and figure in each for each in got)
    ]
    assert missing == []
    assert all(f"\n## {titles[each['workload']]}\n" in page for each in samples)
    assert page.partition("## Goals")[2].partition("\n## ")[0].count("\n| ") > 30
    charts = sorted(path.name for path in (tmp_path / "benchmarks").glob("*.svg"))
    assert charts
    assert all(f"(benchmarks/{chart})" in page for chart in charts)

    (tmp_path / "benchmarks.md").unlink()
    bench("--render", "--output", str(tmp_path))
    assert (tmp_path / "benchmarks.md").read_text() == page


def test_every_peer_does_a_workload_or_says_why_not() -> None:
    silent = ask(
        "[(k, p) for k, w in WORKLOADS.items() for p in ALL"
        " if p not in w.peers and p not in w.cannot]"
    )
    assert silent == []
