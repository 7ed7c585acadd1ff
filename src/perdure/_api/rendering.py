"""Values as HTML: figures, tables, images, Markdown; and whatever a notebook could show.

Nothing is imported for it: who has a figure has its library already.
"""

import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from io import BytesIO
from itertools import islice
from numbers import Number
from pathlib import Path
from typing import Any

from perdure.errors import ConfigurationError, TypeCheckError

PLOTLY = "perdure-plotly"
"""Class of the elements that hold figures of plotly: a page that has one needs its script."""

_FINE = 2  # pixels of a figure for each one of the screen
_SIGNATURES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
    b"<svg": "image/svg+xml",
    b"<?xml": "image/svg+xml",
}
_ROWS = 1000


def render(value: object) -> str:
    """Return the HTML that shows a value. A str is HTML already, and stays as it is."""
    if isinstance(value, str):
        return value
    for cls in type(value).__mro__:
        library = cls.__module__.partition(".")[0]
        if renderer := _RENDERERS.get((library, cls.__name__)):
            return renderer(value)
    return _as_in_a_notebook(value)


def text(value: object) -> str:
    """Return text as HTML: escaped, in the font of code, its lines kept."""
    return f"<pre>{escape(str(value))}</pre>"


def markdown(source: str) -> str:
    """Return Markdown as HTML; HTML that is in it is shown, not obeyed."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return str(parser.render(source))


def image(source: bytes | str | os.PathLike[str], alt: str = "", width: int | None = None) -> str:
    """Return an image as HTML that holds all of it.

    Args:
        source: A PNG, JPEG, GIF, WebP or SVG: its bytes, or the path of the file.
        alt: What it shows, in words.
        width: In pixels of the screen; as many as the image has, or as there is room for.

    Raises:
        ConfigurationError: It is none of these.
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    start = content[:100].lstrip()
    kind = next((kind for mark, kind in _SIGNATURES.items() if start.startswith(mark)), None)
    if kind is None:
        raise ConfigurationError(
            "the image is of a kind that browsers do not show",
            hint="save it as PNG, JPEG, GIF, WebP or SVG",
        )
    data = base64.b64encode(content).decode()
    size = "" if width is None else f' width="{width}"'
    return f'<img src="data:{kind};base64,{data}" alt="{escape(alt)}"{size}>'


def table(data: object, limit: int = _ROWS) -> str:
    """Return a table as HTML.

    Args:
        data: A table of pandas, polars or pyarrow, a list of dicts, or a dict of columns.
        limit: Show at most so many rows.

    Raises:
        TypeCheckError: It is no table.
    """
    names, rows, total = _rows_of(data, limit)
    head = "".join(f"<th>{escape(str(name))}</th>" for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    more = f"<p class=more>{limit:,} of {total:,} rows</p>" if total > limit else ""
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>{more}"


def _rows_of(data: Any, limit: int) -> tuple[Sequence[object], Iterable[Sequence[object]], int]:
    library = type(data).__module__.partition(".")[0]
    if library == "pandas":
        frame = data.to_frame() if hasattr(data, "to_frame") else data
        named = _has_labels(frame)
        names = [*((frame.index.name or "",) if named else ()), *frame.columns]
        shown = frame.head(limit).astype(object)
        shown = shown.where(shown.notna(), None)
        return names, shown.itertuples(index=named, name=None), len(frame)
    if library == "polars" and hasattr(data, "head") and not hasattr(data, "collect"):
        frame = data.to_frame() if hasattr(data, "to_frame") else data
        return frame.columns, frame.head(limit).iter_rows(), frame.height
    if library == "pyarrow":
        columns = [column.to_pylist() for column in data.slice(0, limit).columns]
        return data.schema.names, zip(*columns, strict=True), data.num_rows
    if isinstance(data, Mapping):
        rows = list(zip(*data.values(), strict=True))
        return list(data), rows[:limit], len(rows)
    if isinstance(data, list | tuple) and all(isinstance(row, Mapping) for row in data):
        names = list(dict.fromkeys(name for row in data for name in row))
        return names, ([row.get(n) for n in names] for row in islice(data, limit)), len(data)
    raise TypeCheckError(
        f"{type(data).__name__} is not a table",
        hint="give a table of pandas, polars or pyarrow, a list of dicts, or a dict of columns",
    )


def _has_labels(frame: Any) -> bool:
    """Whether the index of a pandas frame says more than the number of the row."""
    return type(frame.index).__name__ != "RangeIndex" or frame.index.name is not None


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"<td class=number>{value:.6g}</td>"
    if isinstance(value, Number) and not isinstance(value, bool):
        return f"<td class=number>{value}</td>"
    return f"<td>{'' if value is None else escape(str(value))}</td>"


def _matplotlib(figure: Any) -> str:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=_FINE * figure.get_dpi(), bbox_inches="tight")
    content = file.getvalue()
    pixels = int.from_bytes(content[16:20], "big")  # PNG: width, first field of the first chunk
    return image(content, alt="figure", width=pixels // _FINE)


def _plotly(figure: Any) -> str:
    drawn = figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True})
    return f'<div class="{PLOTLY}">{drawn}</div>'


def _pillow(picture: Any) -> str:
    file = BytesIO()
    picture.save(file, format="PNG")
    return image(file.getvalue(), alt="image")


_RENDERERS: dict[tuple[str, str], Callable[[Any], str]] = {
    ("matplotlib", "Figure"): _matplotlib,
    ("plotly", "BaseFigure"): _plotly,
    ("PIL", "Image"): _pillow,
    ("pandas", "DataFrame"): table,
    ("pandas", "Series"): table,
    ("polars", "DataFrame"): table,
    ("polars", "Series"): table,
    ("pyarrow", "Table"): table,
    ("pyarrow", "RecordBatch"): table,
}


def _as_in_a_notebook(value: Any) -> str:
    for method, show in _NOTEBOOK.items():
        represent = getattr(value, method, None)
        if callable(represent) and (shown := represent()) is not None:
            return show(shown)
    return text(value if isinstance(value, bytes) else _pretty(value))


_NOTEBOOK: dict[str, Callable[[Any], str]] = {
    "_repr_html_": str,
    "_repr_svg_": str,
    "_repr_markdown_": markdown,
    "_repr_png_": image,
    "_repr_jpeg_": image,
}


def _pretty(value: object) -> str:
    from pprint import pformat

    return pformat(value, width=100, sort_dicts=False)
