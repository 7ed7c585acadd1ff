"""Bar charts as small SVGs: a bar to the median, a line from the smallest to the largest run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

ROW, TOP, LABEL, BARS, VALUE = 24, 34, 170, 330, 110
WIDTH = LABEL + BARS + VALUE
OURS, THEIRS, INK, FAINT = "#1f6f5c", "#a9b4b1", "#222", "#777"
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
    'height="{height}" font-family="sans-serif" font-size="12">'
)
LOG_FROM = 30.0
"""Ratio of the largest to the smallest from which on the scale is logarithmic."""


@dataclass(frozen=True)
class Bar:
    """A bar, its spread and the text at its end."""

    label: str
    median: float
    low: float
    high: float
    text: str
    ours: bool


class Scale:
    """Where a value stands between the left and the right end.

    Linear from zero; logarithmic, from half of the smallest value, if the values differ much.
    """

    def __init__(self, values: Sequence[float]) -> None:
        positive = [value for value in values if value > 0] or [1.0]
        self.most, least = max(positive), min(positive)
        self.logarithmic = self.most / least >= LOG_FROM
        self._first = math.log(least / 2)

    def __call__(self, value: float) -> float:
        """Return a share of the width."""
        if not self.logarithmic:
            return max(value, 0.0) / self.most
        if value <= 0:
            return 0.0
        share = (math.log(value) - self._first) / (math.log(self.most) - self._first)
        return max(share, 0.0)


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Return an SVG of horizontal bars."""
    scale = Scale([value for row in rows for value in (row.low, row.median, row.high)])
    height = TOP + ROW * len(rows) + 8
    note = " (logarithmic)" if scale.logarithmic else ""
    parts = [
        HEAD.format(width=WIDTH, height=height),
        f'<rect width="{WIDTH}" height="{height}" fill="#fff" rx="6"/>',
        text(10, 20, title + note, f'font-weight="bold" fill="{INK}"'),
    ]
    for index, row in enumerate(rows):
        parts += _row(row, TOP + ROW * index, scale)
    return "\n".join([*parts, "</svg>", ""])


def _row(row: Bar, y: int, scale: Scale) -> list[str]:
    length, low, high = (BARS * scale(value) for value in (row.median, row.low, row.high))
    colour, thick = OURS if row.ours else THEIRS, ROW - 8
    base = y + ROW / 2 + 4
    return [
        text(LABEL - 8, base, row.label, f'text-anchor="end" fill="{INK}"'),
        f'<rect x="{LABEL}" y="{y + 4}" width="{length:.1f}" height="{thick}" fill="{colour}"/>',
        f'<path d="M{LABEL + low:.1f} {y + ROW / 2}H{LABEL + high:.1f}" stroke="{INK}"/>',
        text(LABEL + max(length, high) + 6, base, row.text, f'fill="{FAINT}"'),
    ]


def text(x: float, y: float, words: str, style: str) -> str:
    """Return a line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'
