"""Charts as SVG that takes its colours from the page around it, so that it works in the dark too.

matplotlib, imported when a chart is drawn, draws with stand-in colours; :func:`_svg` replaces them
by the page's CSS variables.
"""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from features import Summary
    from models import TunedPoint

INK, SOFT, LINE, ACCENT, WARM = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {INK: "ink", SOFT: "soft", LINE: "line", ACCENT: "accent", WARM: "warm"}
COLOURS = {"linear": WARM, "boosting": ACCENT}
SHORT_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
HOURS = range(5, 24)

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


def year(months: list[Summary]) -> str:
    """Draw the shares of late and of cancelled flights, month by month."""
    late = [100 * m.total_late / m.total_arrived for m in months]
    cancelled = [100 * m.cancelled / m.scheduled for m in months]
    places = range(len(months))
    with _figure(3.1) as (figure, axes):
        axes.bar([place - 0.2 for place in places], late, 0.38, color=ACCENT, label="late")
        axes.bar([place + 0.2 for place in places], cancelled, 0.38, color=WARM, label="cancelled")
        axes.set_xticks(places, [SHORT_MONTHS[m.month - 1] for m in months])
        axes.yaxis.set_major_formatter("{x:.0f} %")
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper left", ncols=2, labelcolor=SOFT)
        return _svg(figure)


def week(months: list[Summary]) -> str:
    """Draw the share of late flights for every hour of the week."""
    share = {}
    for day in range(7):
        for hour in HOURS:
            arrived = sum(m.arrived[day][hour] for m in months)
            if arrived >= 50:
                share[day, hour] = sum(m.late[day][hour] for m in months) / arrived
    with _figure(3.0) as (figure, axes):
        # Shades of one colour by opacity: the same picture on light and on dark paper.
        for (day, hour), value in share.items():
            shade = max(value / max(share.values()), 0.04)
            axes.add_patch(_tile(hour, day, WARM, round(shade, 3)))
            axes.text(hour, day, f"{100 * value:.0f}", ha="center", va="center", size=8, color=INK)
        axes.set(xlim=(HOURS[0] - 0.5, HOURS[-1] + 0.5), ylim=(6.5, -0.5))
        axes.set_xticks(HOURS[::2], [f"{hour}:00" for hour in HOURS[::2]])
        axes.set_yticks(range(7), DAYS)
        axes.set_xlabel("scheduled departure; the numbers are percentages")
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        return _svg(figure)


def tuning(grids: list[list[TunedPoint]]) -> str:
    """Draw the log loss of every grid point on every fold."""
    points = [point for grid in grids for point in grid]
    points.sort(key=lambda point: point.log_loss)
    with _figure(0.27 * len(points) + 0.9) as (figure, axes):
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


def verdict(predictions: dict[str, pd.DataFrame]) -> str:
    """Draw calibration, and how many late flights are found among those predicted riskiest."""
    with _figure(3.7, columns=2) as (figure, (calibration, found)):
        for family, table in predictions.items():
            ordered = table.sort_values("predicted", kind="stable", ignore_index=True)
            groups = ordered.groupby(ordered.index * 12 // len(ordered))
            calibration.plot(
                100 * groups["predicted"].mean(),
                100 * groups["late"].mean(),
                "o-", color=COLOURS[family], ms=4.5, lw=1.8,
            )  # fmt: skip
            riskiest = ordered["late"][::-1].cumsum().to_list()
            at = [(len(riskiest) - 1) * percent // 100 for percent in range(101)]
            share = [100 * riskiest[place] / riskiest[-1] for place in at]
            found.plot(range(101), share, color=COLOURS[family], lw=1.8)
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
    with _figure(0.23 * len(ranked) + 0.7) as (figure, axes):
        axes.barh([n.replace("_", " ") for n, _ in ranked], [w for _, w in ranked], color=ACCENT)
        axes.set_xlabel("log loss added when the column is shuffled")
        axes.grid(axis="y", visible=False)
        axes.margins(y=0.01)
        return _svg(figure)


@contextmanager
def _figure(height: float, columns: int = 1) -> Iterator[tuple[Figure, Any]]:
    """Give a figure and what is to be drawn on, in our look."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(9.2, height), layout="constrained")
        yield figure, figure.subplots(1, columns)


def _tile(x: float, y: float, colour: str, opacity: float) -> Patch:
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(
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
