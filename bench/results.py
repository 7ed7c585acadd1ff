"""Figures as they were measured: kept as JSON, so that a report can be written again."""

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from catalogue import WORKLOADS


@dataclass
class Sample:
    """One run of one workload on one peer.

    Attributes:
        figures: What it gave; empty if it failed.
        failed: Why it gave nothing.
        when: Seconds since the epoch.
        took: Seconds that it took, its start and end included.
    """

    workload: str
    peer: str
    when: float
    figures: dict[str, Any] = field(default_factory=dict)
    failed: str = ""
    took: float = 0.0


@dataclass
class Results:
    """All samples, and the machine they are from."""

    machine: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what :meth:`save` wrote."""
        kept = json.loads(path.read_text())
        return cls(kept["machine"], [Sample(**each) for each in kept["samples"]])

    def save(self, path: Path) -> None:
        """Write one line per sample."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(asdict(each)) for each in self.samples)
        path.write_text(f'{{"machine": {json.dumps(self.machine)}, "samples": [\n{lines}\n]}}\n')

    def values(self, workload: str, peer: str, figure: str = "") -> list[float]:
        """Return a figure of every run of a workload; by default the one that is compared."""
        figure = figure or WORKLOADS[workload].figure
        return [
            each.figures[figure]
            for each in self.samples
            if (each.workload, each.peer) == (workload, peer)
            and each.figures.get(figure) is not None
        ]

    def median(self, workload: str, peer: str, figure: str = "") -> float | None:
        """Return the median over the runs; None if there is none."""
        values = self.values(workload, peer, figure)
        return statistics.median(values) if values else None

    def failure(self, workload: str, peer: str) -> str:
        """Return why the peer has no figure for a workload, or nothing."""
        reasons = [
            each.failed
            for each in self.samples
            if (each.workload, each.peer) == (workload, peer) and each.failed
        ]
        return reasons[-1] if reasons else ""
