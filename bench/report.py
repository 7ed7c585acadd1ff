"""Writes the page: goals, an overview, and for every workload a table and a chart."""

import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import plots
from catalogue import PEERS, WORKLOADS, Workload
from results import Results
from targets import Target, targets

OURS = ("perdure", "perdure-process")

INTRO = """\
<!-- Written by `make bench`; the figures are in benchmarks/results.json. -->

# Benchmarks

The same workloads on Perdure and on its peers, in one go: round by round, workload by workload, all
peers one after the other, each in a process and a home of its own. Figures are medians over the
runs; the spread is the smallest and the largest. Nothing else should run on the machine. How it is
done, and how to do it again, is in [bench/README.md](../bench/README.md).
"""


def write(results: Results, page: Path) -> None:
    """Write the page, and its charts into a folder beside it."""
    charts = page.with_suffix("")
    charts.mkdir(parents=True, exist_ok=True)
    for old in charts.glob("*.svg"):
        old.unlink()
    measured = [
        name for name in WORKLOADS if any(each.workload == name for each in results.samples)
    ]
    parts = [INTRO, _machine(results), _peers(results), _targets(results)]
    parts += [_overview(results, measured)]
    parts += [_section(results, name, charts) for name in measured]
    page.write_text("\n".join(parts))


def _machine(results: Results) -> str:
    machine = results.machine
    first, last = (
        datetime.fromtimestamp(pick(each.when for each in results.samples), UTC)
        for pick in (min, max)
    )
    gaps = "" if machine["sessions"] == 1 else ", in several sessions, perhaps of several commits"
    rows = [
        ("measured", f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC{gaps}"),
        ("machine", f"{machine['cores']} cores, {machine['memory_gb']} GB; {machine['processor']}"),
        ("system", f"{machine['system']}, Python {machine['python']}"),
        ("disk", f"one fdatasync takes {machine['fdatasync_ms']:.2f} ms (median)"),
        ("Perdure", f"commit {machine['commit']}"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows), ""])


def _peers(results: Results) -> str:
    versions = results.machine["versions"]
    lines = ["## Who, and what each promises", "", "| | version | |", "|---|---|---|"]
    lines += [
        f"| {peer.title} | {versions.get(peer.package, results.machine['python'])} | {peer.how} |"
        for name, peer in PEERS.items()
        if any(each.peer == name for each in results.samples)
    ]
    return "\n".join([*lines, ""])


def _targets(results: Results) -> str:
    lines = [
        "## Goals",
        "",
        "What Perdure wants to reach on two cores; durable, `full` unless said otherwise.",
        "",
        "| | goal | measured | |",
        "|---|---|---|---|",
    ]
    for each in targets(results):
        sign = "≤" if each.at_most else "≥"
        lines.append(
            f"| {each.what} | {sign} {number(each.limit)} {each.unit} | {_measured(each)} | "
            f"{ {True: 'reached', False: 'not yet', None: ''}[each.met] } |"
        )
    limits = Path(__file__).with_name("limits.md").read_text()
    return "\n".join([*lines, "", limits])


def _measured(target: Target) -> str:
    return "not measured" if target.measured is None else f"{number(target.measured)} {target.unit}"


def _overview(results: Results, measured: list[str]) -> str:
    peers = [name for name in PEERS if any(each.peer == name for each in results.samples)]
    lines = [
        "## Overview",
        "",
        "| | " + " | ".join(PEERS[name].title for name in peers) + " |",
        "|---|" + "---:|" * len(peers),
    ]
    for name in measured:
        workload = WORKLOADS[name]
        cells = [
            cell + (" *" if cell and workload.smaller(peer) else "")
            for peer in peers
            for cell in [_cell(results.median(name, peer))]
        ]
        lines.append(f"| {workload.title}, {workload.unit} | {' | '.join(cells)} |")
    note = "\\* with less, as said below. An empty cell: not measured; why is said below, too."
    return "\n".join([*lines, "", note, ""])


def _cell(value: float | None) -> str:
    return "" if value is None else number(value)


def _section(results: Results, name: str, charts: Path) -> str:
    workload = WORKLOADS[name]
    lines = [f"## {workload.title}", "", f"In {workload.unit}; {workload.better} is better.", ""]
    present = [peer for peer in PEERS if results.values(name, peer)]
    if len(present) > 1:
        chart = f"{'-'.join(name.replace('/', '').split())}.svg"
        title = f"{workload.title}, {workload.unit}"
        rows = [_bar(results, name, peer) for peer in present]
        (charts / chart).write_text(plots.bars(title, rows))
        lines += [f"![{title}]({charts.name}/{chart})", ""]
    lines += _table(results, name, workload, present)
    lines += _further(results, name)
    lines += _reasons(results, name, workload)
    return "\n".join(lines)


def _bar(results: Results, name: str, peer: str) -> plots.Bar:
    values = results.values(name, peer)
    middle = statistics.median(values)
    return plots.Bar(
        PEERS[peer].title, middle, min(values), max(values), number(middle), peer in OURS
    )


def _table(results: Results, name: str, workload: Workload, present: list[str]) -> list[str]:
    heads = ["", "median", "spread", "Perdure is", *workload.also.values()]
    heads += ["peak memory, all processes", "of the caller", "runs", ""]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 2)}---|"]
    ours = results.median(name, "perdure")
    for peer in present:
        values = results.values(name, peer)
        middle = statistics.median(values)
        cells = [
            PEERS[peer].title,
            number(middle),
            f"{number(min(values))} to {number(max(values))}",
            _ratio(workload, peer, ours, middle),
            *(_cell(results.median(name, peer, figure)) for figure in workload.also),
            _megabytes(results.median(name, peer, "peak_mb")),
            _megabytes(results.median(name, peer, "driver_peak_mb")),
            str(len(values)),
            _remark(workload, peer),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""] if present else []


def _megabytes(value: float | None) -> str:
    return "" if value is None else f"{number(value)} MB"


def _remark(workload: Workload, peer: str) -> str:
    """Say with what a peer was measured if not with what the workload is named after, and how."""
    words = [f"with {key} = {value:,}" for key, value in workload.smaller(peer).items()]
    return "; ".join([*words, *filter(None, [workload.notes.get(peer)])])


def _ratio(workload: Workload, peer: str, ours: float | None, theirs: float) -> str:
    """Say how Perdure stands to a peer, unless the peer's time is for less work."""
    if ours is None or peer in OURS or (workload.unit == "s" and workload.smaller(peer)):
        return ""
    return compared(ours, theirs, workload.better)


def compared(ours: float, theirs: float, better: str) -> str:
    """Say how Perdure stands to a peer: ``12 x faster`` or ``1.3 x slower``."""
    if not ours or not theirs:
        return ""
    ratio = ours / theirs if better == "higher" else theirs / ours
    return f"{number(ratio)} x better" if ratio >= 1 else f"{number(1 / ratio)} x worse"


HIDDEN = {"driver_peak_mb", "peak_mb", "controller_growth_mb"}


def _further(results: Results, name: str) -> list[str]:
    """Return what else was measured of Perdure."""
    found: dict[str, None] = {}
    for each in results.samples:
        if (each.workload, each.peer) == (name, "perdure"):
            found |= dict.fromkeys(k for k, v in each.figures.items() if isinstance(v, float | int))
    figures = [
        key for key in found if key not in HIDDEN | {WORKLOADS[name].figure, *WORKLOADS[name].also}
    ]
    if not figures:
        return []
    words = (f"{key} {number(results.median(name, 'perdure', key) or 0.0)}" for key in figures)
    return [f"Further figures of Perdure: {', '.join(words)}.", ""]


def _reasons(results: Results, name: str, workload: Workload) -> Iterator[str]:
    reasons = dict(workload.cannot)
    for peer in workload.peers:
        if not results.values(name, peer) and (failure := results.failure(name, peer)):
            reasons[peer] = f"`{failure}`"
    if reasons:
        yield "Not measured:"
        yield ""
        for reason in dict.fromkeys(reasons.values()):
            whom = ", ".join(PEERS[peer].title for peer in reasons if reasons[peer] == reason)
            yield f"- {whom}: {reason}"
        yield ""


def number(value: float) -> str:
    """Return three significant digits, all of those before the point, and no exponents."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2 if abs(value) < 1 and abs(value) >= 0.1 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{digits}f}" if abs(value) >= 0.1 else f"{value:.2g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
