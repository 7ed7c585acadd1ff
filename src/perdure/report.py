"""What an action shows to people: a page of HTML, written while it runs and when it ends.

``log``, ``replace`` and ``flush`` have an awaitable form for async code: ``await flush.aio()``.
``markdown``, ``table``, ``image`` and ``text`` return HTML to be logged.
"""

from typing import Any

from perdure._api.rendering import image, markdown, table, text
from perdure._api.report import Report, current_report, flush, get_tab, log, replace, tab
from perdure.errors import NotSupportedError

__all__ = [
    "Report",
    "current_report",
    "flush",
    "get_tab",
    "image",
    "log",
    "markdown",
    "replace",
    "tab",
    "table",
    "text",
]

_LACKING = {
    "Timeline": "log the rows of a list or table",
    "abbreviate": "cut the text before it is logged",
    "duration_ms": "format the difference of the times",
}


def __getattr__(name: str) -> Any:
    if name in _LACKING:
        raise NotSupportedError(f"perdure.report.{name} is not supported yet", hint=_LACKING[name])
    raise AttributeError(f"module 'perdure.report' has no attribute {name!r}")
