"""Charts as SVG that takes its colours from the page around it, so that it works in the dark too.

matplotlib draws with stand-in colours; :func:`_svg` replaces them by the page's CSS variables.
"""

import io
import re
from collections.abc import Iterable

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from features import Summary
from models import Evaluation, TunedPoint

INK, SOFT, LINE, ACCENT, WARM = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {INK: "ink", SOFT: "soft", LINE: "line", ACCENT: "accent", WARM: "warm"}
COLOURS = {"linear": WARM, "boosting": ACCENT}
SHORT_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

LOOK = {
    "svg.fonttype": "none",  # text stays text: it takes the page's font
    "svg.hashsalt": "flights",  # element ids, hence the bytes of the report, are reproducible
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "legend.frameon": False,
}


def year(months: Iterable[Summary]) -> str:
    """Draw the shares of late and of cancelled flights, month by month."""
    months = list(months)
    late = [100 * m.late.sum() / m.arrived.sum() for m in months]
    cancelled = [100 * m.cancelled / m.scheduled for m in months]
    with mpl.rc_context(LOOK):
        figure, axes = _figure(3.1)
        places = np.arange(len(months))
        axes.bar(places - 0.2, late, 0.38, color=ACCENT, label="late")
        axes.bar(places + 0.2, cancelled, 0.38, color=WARM, label="cancelled")
        axes.set_xticks(places, [SHORT_MONTHS[m.month - 1] for m in months])
        axes.yaxis.set_major_formatter("{x:.0f} %")
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper left", ncols=2, labelcolor=SOFT)
        return _svg(figure)


def week(months: Iterable[Summary]) -> str:
    """Draw the share of late flights for every hour of the week."""
    months = list(months)
    late, arrived = sum(m.late for m in months), sum(m.arrived for m in months)
    hours = slice(5, 24)
    with mpl.rc_context(LOOK), np.errstate(invalid="ignore"):
        figure, axes = _figure(3.0)
        # Shades of one colour by opacity: the same picture on light and on dark paper.
        share = np.where(arrived >= 50, late / arrived, np.nan)[:, hours]
        for (day, hour), value in np.ndenumerate(share):
            if np.isnan(value):
                continue
            shade = float(np.clip(value / np.nanmax(share), 0.04, 1))
            axes.add_patch(_tile(hour, day, WARM, round(shade, 3)))
            axes.text(hour, day, f"{100 * value:.0f}", ha="center", va="center", size=8, color=INK)
        axes.set(xlim=(-0.5, share.shape[1] - 0.5), ylim=(6.5, -0.5))
        axes.set_xticks(range(0, share.shape[1], 2), [f"{h}:00" for h in range(5, 24, 2)])
        axes.set_yticks(range(7), DAYS)
        axes.set_xlabel("scheduled departure; the numbers are percentages")
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        return _svg(figure)


def tuning(grids: list[list[TunedPoint]]) -> str:
    """Draw the log loss of every grid point on every fold."""
    points = [point for grid in grids for point in grid]
    points.sort(key=lambda point: point.log_loss)
    with mpl.rc_context(LOOK):
        figure, axes = _figure(0.27 * len(points) + 0.9)
        for place, tuned_point in enumerate(points):
            colour = COLOURS[tuned_point.point.family]
            losses = [scores.log_loss for scores in tuned_point.folds]
            axes.scatter(losses, [place] * len(losses), s=26, color=colour, alpha=0.45, lw=0)
            axes.scatter([tuned_point.log_loss], [place], s=130, marker="|", color=colour, lw=2.5)
        axes.set_yticks(range(len(points)), [str(p.point).replace("_", " ") for p in points])
        axes.invert_yaxis()
        axes.set_xlabel("log loss (smaller is better)")
        _family_legend(axes, "upper right")
        return _svg(figure)


def verdict(evaluations: list[Evaluation]) -> str:
    """Draw calibration, and how many late flights are found among those predicted riskiest."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(9.2, 3.7), layout="constrained")
        calibration, found = figure.subplots(1, 2)
        for family, colour in COLOURS.items():
            late = np.concatenate([e.late for e in evaluations if e.family == family])
            predicted = np.concatenate([e.predicted for e in evaluations if e.family == family])
            order = np.argsort(predicted, kind="stable")
            groups = np.array_split(order, 12)
            calibration.plot(
                [100 * predicted[g].mean() for g in groups],
                [100 * late[g].mean() for g in groups],
                "o-", color=colour, ms=4.5, lw=1.8,
            )  # fmt: skip
            riskiest = np.concatenate([[0.0], np.cumsum(late[order[::-1]]) / late.sum()])
            at = np.linspace(0, len(late), 101).astype(int)
            found.plot(100 * at / len(late), 100 * riskiest[at], color=colour, lw=1.8)
        limit = calibration.get_xlim()[1]
        calibration.plot([0, limit], [0, limit], "--", color=SOFT, lw=1)
        calibration.set(xlabel="predicted to be late, %", ylabel="were late, %")
        found.plot([0, 100], [0, 100], "--", color=SOFT, lw=1)
        found.set(xlabel="flights, riskiest first, %", ylabel="of all late flights, %")
        _family_legend(found, "lower right")
        return _svg(figure)


def importances(weights: dict[str, float]) -> str:
    """Draw how much each feature matters."""
    ranked = sorted(weights.items(), key=lambda item: item[1])
    with mpl.rc_context(LOOK):
        figure, axes = _figure(0.23 * len(ranked) + 0.7)
        axes.barh([n.replace("_", " ") for n, _ in ranked], [w for _, w in ranked], color=ACCENT)
        axes.set_xlabel("log loss added when the column is shuffled")
        axes.grid(axis="y", visible=False)
        axes.margins(y=0.01)
        return _svg(figure)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9.2, height), layout="constrained")
    return figure, figure.subplots()


def _tile(x: float, y: float, colour: str, opacity: float) -> mpl.patches.FancyBboxPatch:
    return mpl.patches.FancyBboxPatch(
        (x - 0.44, y - 0.42), 0.88, 0.84,
        boxstyle="round,pad=0,rounding_size=0.12", color=colour, alpha=opacity, lw=0,
    )  # fmt: skip


def _family_legend(axes: Axes, place: str) -> None:
    for family, colour in COLOURS.items():
        axes.plot([], [], "o", color=colour, label=family)
    axes.legend(loc=place, labelcolor=SOFT)


def _svg(figure: Figure) -> str:
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg
