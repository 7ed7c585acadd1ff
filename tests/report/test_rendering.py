"""Values become HTML that needs nothing else."""

import datetime as dt
import io
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from perdure import errors, report
from perdure._api import page
from perdure._api.rendering import render

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


class Cells(HTMLParser):
    """Collects the texts of table cells, by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        self._inside = tag in ("td", "th")
        if self._inside:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


def cells(html: str) -> list[list[str]]:
    parser = Cells()
    parser.feed(html)
    return parser.rows


def test_a_str_is_html_already() -> None:
    assert render("<b>bold & brave</b>") == "<b>bold & brave</b>"


def test_other_objects_are_shown_as_text() -> None:
    assert render({"a": "<b>"}) == "<pre>{&#x27;a&#x27;: &#x27;&lt;b&gt;&#x27;}</pre>"
    assert report.text("a < b\nc") == "<pre>a &lt; b\nc</pre>"
    assert render(None) == "<pre>None</pre>"


COLUMNS = {"name": ["a<b", None], "share": [0.123456789, 2.0], "count": [1, 2]}
SHOWN = [["name", "share", "count"], ["a<b", "0.123457", "1"], ["", "2", "2"]]


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(COLUMNS).astype({"name": object}),
        pl.DataFrame(COLUMNS),
        pa.table(COLUMNS),
        pa.table(COLUMNS).to_batches()[0],
    ],
    ids=lambda table: type(table).__module__,
)
def test_tables_are_shown_with_all_their_cells(table: object) -> None:
    assert cells(render(table)) == SHOWN
    assert "<td class=number>0.123457</td>" in render(table)


def test_plain_data_is_a_table_if_asked_for() -> None:
    rows = [
        dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)
    ]
    assert cells(report.table(COLUMNS)) == SHOWN
    assert cells(report.table(rows)) == SHOWN
    assert cells(report.table([{"a": 1}, {"b": True}])) == [["a", "b"], ["1", ""], ["", "True"]]
    assert cells(report.table([])) == [[]]
    with pytest.raises(errors.TypeCheckError, match="int is not a table"):
        report.table(3)


def test_labels_of_rows_are_shown_if_there_are_any() -> None:
    frame = pd.DataFrame({"n": [1, 2]}, index=pd.Index(["x", "y"], name="key"))
    assert cells(render(frame)) == [["key", "n"], ["x", "1"], ["y", "2"]]
    assert cells(render(frame["n"])) == [["key", "n"], ["x", "1"], ["y", "2"]]
    assert cells(render(pl.Series("n", [1]))) == [["n"], ["1"]]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, dict])
def test_of_long_tables_the_beginning_is_shown_and_said_so(make: object) -> None:
    html = report.table(make({"n": list(range(5000))}), limit=20)  # type: ignore[operator]
    assert cells(html) == [["n"], *([str(n)] for n in range(20))]
    assert "20 of 5,000 rows" in html


def test_numbers_of_all_kinds_stand_below_each_other() -> None:
    values = [Decimal("1.50"), 3, True, dt.date(2026, 1, 31)]
    html = report.table({"v": values})
    assert cells(html) == [["v"], ["1.50"], ["3"], ["True"], ["2026-01-31"]]
    assert html.count("class=number") == 2


def test_markdown_is_rendered_and_html_in_it_is_shown() -> None:
    html = report.markdown("# Head\n\n|a|\n|-|\n|1|\n\n<script>x</script> ~~no~~")
    assert "<h1>Head</h1>" in html
    assert cells(html) == [["a"], ["1"]]
    assert "<script>" not in html
    assert "<s>no</s>" in html


def test_images_are_inside_the_page(tmp_path: Path) -> None:
    (tmp_path / "dot").write_bytes(PNG)
    (tmp_path / "plan.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    html = report.image(tmp_path / "dot", alt='a "dot"', width=10)
    assert html.startswith('<img src="data:image/png;base64,iVBOR')
    assert html.endswith('alt="a &quot;dot&quot;" width="10">')
    assert report.image(PNG).endswith('alt="">')
    assert "image/svg+xml" in report.image(str(tmp_path / "plan.svg"))
    with pytest.raises(errors.ConfigurationError, match="browsers"):
        report.image(b"BM is a bitmap")


def test_what_a_notebook_can_show_is_shown_the_same_way() -> None:
    class Html:
        def _repr_html_(self) -> str:
            return "<b>rich</b>"

    class Picture:
        def _repr_html_(self) -> None:
            return None

        def _repr_png_(self) -> bytes:
            return PNG

    assert render(Html()) == "<b>rich</b>"
    assert render(Picture()) == report.image(PNG)


def test_a_figure_of_matplotlib_is_an_image_twice_as_fine_as_it_is_large() -> None:
    matplotlib = pytest.importorskip("matplotlib.figure")
    figure = matplotlib.Figure(figsize=(4, 3), dpi=100)
    figure.subplots().plot([1, 2, 3])
    html = render(figure)
    assert html.startswith('<img src="data:image/png;base64,')
    width = int(html.partition('width="')[2].partition('"')[0])
    assert 300 < width < 420


def test_a_picture_of_pillow_is_an_image() -> None:
    pillow = pytest.importorskip("PIL.Image")
    picture = pillow.open(io.BytesIO(PNG))
    assert render(picture).startswith('<img src="data:image/png;base64,')


def test_figures_of_plotly_share_one_script_in_the_page() -> None:
    plotly = pytest.importorskip("plotly.graph_objects")
    figure = render(plotly.Figure(plotly.Scatter(y=[1, 2, 3])))
    alone = page.of("t", {"main": figure})
    two = page.of("t", {"main": figure, "more": figure})
    none = page.of("t", {"main": "<p>text</p>"})
    assert len(figure) < 50_000
    assert len(none) < 10_000 < 1_000_000 < len(alone)
    assert len(two) - len(alone) < 100_000
    assert "https://cdn" not in alone.partition("<script>")[0]
