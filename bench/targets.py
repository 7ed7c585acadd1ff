"""What Perdure wants to reach on a machine of two cores, held against what was measured."""

from collections.abc import Iterator
from dataclasses import dataclass

from catalogue import ALL
from results import Results

OTHERS = tuple(peer for peer in ALL if peer not in ("perdure", "processes"))


@dataclass(frozen=True)
class Target:
    """A goal, and where it stands.

    Attributes:
        what: The workload, and what of it.
        limit: The goal.
        measured: The figure; None if it was not measured.
        unit: Of both.
        at_most: Whether the limit is an upper one.
    """

    what: str
    limit: float
    measured: float | None
    unit: str
    at_most: bool

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None if that was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit


def targets(results: Results) -> Iterator[Target]:
    """Yield every goal."""
    yield from _throughput(results)
    yield from _latency(results)
    yield from _size(results)
    yield from _growth(results)


def _throughput(results: Results) -> Iterator[Target]:
    def rate(what: str, workload: str, limit: float, unit: str = "tasks/s") -> Target:
        return Target(what, limit, results.median(workload, "perdure"), unit, at_most=False)

    for count in ("10k", "100k"):
        workload = f"fan-out {count} async"
        yield rate(f"fan-out of {count} no-op tasks", workload, 25_000)
        for peer, times in (("ray", 15), ("processes", 3)):
            title = {"ray": "Ray", "processes": "ProcessPoolExecutor"}[peer]
            ratio = divided(results.median(workload, "perdure"), results.median(workload, peer))
            yield Target(f"the same, compared with {title}", times, ratio, "times", at_most=False)
        yield rate(f"map of a sync parent over {count} items", f"map {count}", 25_000)
    yield rate("100 parents of 100 tasks, async", "nested 100 x 100", 15_000, "leaves/s")
    yield rate("100 parents of 100 tasks, sync", "nested 100 x 100 sync", 15_000, "leaves/s")
    yield rate("map over 1M items", "map 1M", 20_000)
    yield rate("CPU-bound work, against plain processes", "cpu-bound 200 x 50 ms", 0.97, "")


def _latency(results: Results) -> Iterator[Target]:
    def time(what: str, workload: str, limit: float, unit: str, figure: str = "") -> Target:
        return Target(what, limit, results.median(workload, "perdure", figure), unit, at_most=True)

    flush_us = 1e3 * results.machine["fdatasync_ms"]
    for colour in ("async", "sync"):
        workload = f"sequential {colour}"
        process = results.median(workload, "perdure-process")
        full = results.median(workload, "perdure")
        what = f"sequential call from a parent that is {colour}"
        yield Target(f"{what}, `process`", 200, process, "µs", at_most=True)
        flushes = None if None in (full, process) else (full - process) / flush_us  # type: ignore[operator]
        yield Target(f"{what}, `full`: over `process`", 1.5, flushes, "flushes", at_most=True)
    cold = results.median("cold start", "perdure")
    yield Target("cold start of a one-task script", 0.35, cold, "s", at_most=True)
    others = [each for peer in OTHERS if (each := results.median("cold start", peer)) is not None]
    best = divided(cold, min(others, default=None))
    yield Target("the same, compared with the fastest other system", 1, best, "times", at_most=True)
    yield time("import", "import", 100, "ms")
    yield time("resume of 100k finished children, to the first new one", "resume 100k", 1.0, "s")
    yield time("1 GB array, task to task", "hand-over 1 GB", 1.0, "s")
    what = "the same array to 8 tasks, against 8 sums in place"
    yield time(what, "hand-over 1 GB", 1.2, "times", "eight_to_in_place")
    yield time("1,000 tasks that sleep 1 s, in one worker", "sleepers 1000 x 1 s", 1.3, "s")


def _size(results: Results) -> Iterator[Target]:
    for what, workload, figure, limit, unit in (
        ("memory after import", "import", "driver_peak_mb", 30, "MB"),
        ("growth of the controller, 1M items", "map 1M", "controller_growth_mb", 50, "MB"),
        ("growth of the parent, 1M items", "map 1M", "parent_growth_mb", 50, "MB"),
        ("journal, 100k tasks", "fan-out 100k async", "journal_bytes_per_action", 300, "B/action"),
        ("journal, 1M items", "map 1M", "journal_bytes_per_action", 300, "B/action"),
    ):
        yield Target(what, limit, results.median(workload, "perdure", figure), unit, at_most=True)


def _growth(results: Results) -> Iterator[Target]:
    for what, figure, per_action in (
        ("running", "us_per_task", True),
        ("`perdure ls`", "ls_s", False),
        ("`perdure show`", "show_s", False),
        ("resume, without its start", "resume_us_per_task", True),
    ):
        ratio = divided(
            results.median("growth 1M", "perdure", figure),
            results.median("growth 10k", "perdure", figure),
        )
        if ratio is not None and not per_action:
            ratio /= 100  # both are of the whole run
        yield Target(f"{what}: cost per task, 1M to 10k", 1.2, ratio, "times", at_most=True)


def divided(above: float | None, below: float | None) -> float | None:
    """Return a ratio if both were measured."""
    return above / below if above is not None and below and below > 0 else None
