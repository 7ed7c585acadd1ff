"""Measure the journal: rows per second, bytes per row, lookups, and commits beside a busy thread.

    python bench/journal.py [--rows 100000] [--batch 500] [--durability full]

Prints one JSON object. Times are wall clock; the disk is the one that holds ``--folder``.
"""

import argparse
import json
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from perdure._core.ids import digest
from perdure._core.model import Loader, Outcome, Phase, TaskSpec
from perdure._journal.sqlite import SqliteJournal
from perdure._ports import ActionRow, RunRow
from perdure._views.sqlite import SqliteViews

SPEC = TaskSpec("bench.main", Loader("main", "", "main"))


def no_op(run: int, seq: int) -> ActionRow:
    """Return what a finished no-op task with one small argument leaves behind."""
    now = 1.7e9 + seq * 1e-5
    return ActionRow(
        run=run,
        seq=seq,
        id=digest(b"%d" % seq),
        parent=1,
        task="bench.no_op",
        code=b"c" * 16,
        phase=Phase.SUCCEEDED,
        inputs=b"\x81\xa4item\xce" + seq.to_bytes(4),
        outcome=Outcome(b"\xc0"),
        created=now,
        started=now + 1e-4,
        ended=now + 2e-4,
        attempts=1,
        worker=0x1234_5678_9ABC,
    )


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def batches(run: int, rows: int, batch: int) -> Iterator[list[ActionRow]]:
    for first in range(1, rows + 1, batch):
        yield [no_op(run, seq) for seq in range(first, min(first + batch, rows + 1))]


def commits(journal: SqliteJournal, run: int, epoch: int, rows: int, batch: int) -> list[float]:
    """Return the seconds of each commit."""
    return [
        timed(lambda some=some: journal.commit(some, {run: epoch}))  # type: ignore[misc]
        for some in batches(run, rows, batch)
    ]


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {k: round(1e3 * ordered[int(q * (len(ordered) - 1))], 3) for k, q in at.items()}


def beside_a_busy_thread(journal: SqliteJournal, run: int, epoch: int, batch: int) -> float:
    """Return microseconds per row while another thread keeps the interpreter lock busy."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1000))

    spinner = threading.Thread(target=spin)
    rows = [[no_op(run, 10_000_000 + n * batch + i) for i in range(batch)] for n in range(10)]
    spinner.start()
    seconds = timed(lambda: [journal.commit(some, {run: epoch}) for some in rows])
    stop.set()
    spinner.join()
    return round(1e6 * seconds / (10 * batch), 2)


def measure(folder: Path, rows: int, batch: int, durability: str) -> dict[str, object]:
    path = folder / "journal.db"
    journal = SqliteJournal(path, durability)  # type: ignore[arg-type]
    run = journal.create_run(RunRow(name="bench", spec=SPEC))
    epoch = journal.acquire(run, "bench", lambda _: False)
    seconds = commits(journal, run, epoch, rows, batch)
    ids = [digest(b"%d" % seq) for seq in random.Random(0).sample(range(1, rows + 1), 1000)]
    views = SqliteViews(path)
    result: dict[str, object] = {
        "rows": rows,
        "batch": batch,
        "durability": durability,
        "rows_per_second": round(rows / sum(seconds)),
        "us_per_row": round(1e6 * sum(seconds) / rows, 2),
        "commit_ms": percentiles(seconds),
        "first_lookup_ms": round(1e3 * timed(lambda: journal.lookup(run, ids[:1])), 2),
        "lookup_1000_ms": round(1e3 * timed(lambda: journal.lookup(run, ids)), 2),
        "children_s": round(timed(lambda: sum(1 for _ in journal.children(run, 1))), 3),
        "counts_s": round(timed(lambda: views.counts(run)), 3),
        "tree_s": round(timed(lambda: sum(1 for _ in views.tree(run))), 3),
        "us_per_row_beside_a_busy_thread": beside_a_busy_thread(journal, run, epoch, batch),
    }
    views.close()
    journal.close()
    result["bytes_per_row"] = round(path.stat().st_size / (rows + 10 * batch), 1)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--durability", choices=("full", "process"), default="full")
    parser.add_argument("--folder", type=Path, help="where to put the journal (default: temporary)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measure(Path(folder), arguments.rows, arguments.batch, arguments.durability)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
