"""Reports: what an action shows to people, as a page of HTML that it may write while it runs.

A report has tabs, a tab has pieces of HTML in the order in which they were logged. A flush writes
the page in place of the one before; the last one comes with the end of the attempt, before anybody
sees its outcome. Each attempt begins anew. Outside any run what is logged goes nowhere.
"""

import asyncio
from collections.abc import Callable
from contextvars import copy_context

from perdure import _files
from perdure._api import page
from perdure._api.rendering import render
from perdure._api.scope import Scope, current
from perdure._secrets import masking
from perdure.config import report_path
from perdure.errors import ConfigurationError

MAIN = "main"


class Tab:
    """One tab of a report.

    Attributes:
        name: What is written on it.
        content: Pieces of HTML, in order.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.content: list[str] = []

    def log(self, content: object) -> None:
        """Add to the tab: HTML as a str, or something that :func:`log` can show."""
        self.content.append(render(content))

    def replace(self, content: object) -> None:
        """Show this and nothing else."""
        self.content[:] = [render(content)]

    def get_html(self) -> str:
        """Return the HTML of the tab."""
        return "\n".join(self.content)


class Report:
    """What an action reports.

    Attributes:
        name: Title of the page.
        tabs: By name, in the order in which they were made; the first is called ``main``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.tabs = {MAIN: Tab(MAIN)}

    def has_content(self) -> bool:
        """Whether anything was logged."""
        return any(tab.content for tab in self.tabs.values())

    def get_tab(self, name: str, create_if_missing: bool = True) -> Tab:
        """Return the tab of that name.

        Args:
            name: Its name.
            create_if_missing: Make it if there is none.

        Raises:
            ConfigurationError: There is none, and none is to be made.
        """
        if name not in self.tabs:
            if not create_if_missing:
                known = ", ".join(self.tabs)
                raise ConfigurationError(f"there is no tab {name!r}", hint=f"there are: {known}")
            self.tabs[name] = Tab(name)
        return self.tabs[name]

    def get_final_report(self) -> str:
        """Return the page."""
        return page.of(self.name, self._shown())

    def _shown(self) -> dict[str, str]:
        return {name: tab.get_html() for name, tab in self.tabs.items() if tab.content}


def report_of(scope: Scope) -> Report:
    """Return the report of an attempt, made when it is first asked for."""
    if scope.report is None:
        scope.report = Report(scope.task)
    return scope.report


def publish(scope: Scope, *, final: bool) -> None:
    """Write the report of an attempt, if it has any content.

    Args:
        scope: The attempt.
        final: Nothing is going to be added; otherwise the page says that it will be.

    Raises:
        OSError: It cannot be written.
    """
    _write(scope, _page(scope, final=final))


def _page(scope: Scope, *, final: bool) -> str:
    report = scope.report
    if report is None or not report.has_content():
        return ""
    origin = f"run {scope.run} · attempt {scope.number + 1}"
    return page.of(report.name, report._shown(), origin=origin, live=not final)  # noqa: SLF001


def _write(scope: Scope, text: str) -> None:
    if text:
        mask = masking.installed()
        text = text if mask is None else mask.text(text)
        path = report_path(scope.home, scope.run, scope.action)
        _files.write(path, text.encode("utf-8", "backslashreplace"), sync=scope.sync)


# --- what users call ------------------------------------------------------------------------------


def current_report() -> Report:
    """Return the report of the action that runs here; outside any run, one that nobody sees."""
    scope = current()
    return Report("no run") if scope is None else report_of(scope)


def get_tab(name: str, /, create_if_missing: bool = True) -> Tab:
    """Return a tab of the report, made if it is missing, to ``.log`` to and ``.replace``."""
    return current_report().get_tab(name, create_if_missing)


def tab(name: str, /) -> Tab:
    """Return a tab of the report, made if it is missing: ``report.tab("data").log(table)``."""
    return get_tab(name)


class Flush:
    """The type of ``perdure.report.flush``."""

    def __call__(self) -> None:
        """Write the report now; in async code ``await flush.aio()`` does not stop the loop."""
        scope = current()
        if scope is not None:
            publish(scope, final=False)

    async def aio(self) -> None:
        """Do the same on a thread."""
        scope = current()
        if scope is not None:
            text = _page(scope, final=False)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, copy_context().run, _write, scope, text)

    def __repr__(self) -> str:
        return "<perdure.report.flush>"


class Change:
    """The type of ``perdure.report.log`` and ``replace``: they change the tab ``main``."""

    def __init__(self, name: str, doc: str, change: Callable[[Tab, object], None]) -> None:
        self._name = name
        self._change = change
        self.__doc__ = doc

    def __call__(self, content: object, do_flush: bool = False) -> None:
        self._change(get_tab(MAIN), content)
        if do_flush:
            flush()

    async def aio(self, content: object, do_flush: bool = False) -> None:
        """Do the same; only the flush is done on a thread."""
        self._change(get_tab(MAIN), content)
        if do_flush:
            await flush.aio()

    def __repr__(self) -> str:
        return f"<perdure.report.{self._name}>"


flush = Flush()
log = Change(
    "log",
    """Add to the tab ``main`` of the report.

    Args:
        content: HTML as a str, which is taken as it is; or a figure of matplotlib or plotly, a
            table of pandas, polars or pyarrow, an image of PIL, or anything that a notebook can
            show. Other objects are shown as text.
        do_flush: Write the report at once.
    """,
    Tab.log,
)
replace = Change(
    "replace",
    """Show this in the tab ``main`` in place of all that was logged there.

    Args:
        content: As for ``log``.
        do_flush: Write the report at once.
    """,
    Tab.replace,
)
