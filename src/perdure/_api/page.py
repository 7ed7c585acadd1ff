"""The page of a report: one file that needs no network, no server, and no script to be read."""

from datetime import datetime
from html import escape
from importlib.resources import files
from string import Template

from perdure._api.rendering import PLOTLY

LIVE_SECONDS = 5
"""How often a page looks for news while the action runs."""


def of(title: str, tabs: dict[str, str], *, origin: str = "", live: bool = False) -> str:
    """Return a page.

    Args:
        title: Its title.
        tabs: HTML by name of the tab. One tab alone is shown without its name.
        origin: Where it comes from, in words.
        live: There is more to come: the page loads itself again.
    """
    template = Template((files("perdure._api") / "page.html").read_text(encoding="utf-8"))
    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    return template.substitute(
        title=escape(title),
        refresh=f'<meta http-equiv="refresh" content="{LIVE_SECONDS}">' if live else "",
        scripts=_scripts("".join(tabs.values())),
        origin=escape(" · ".join(filter(None, (origin, written)))),
        live='<span class="live">running</span>' if live else "",
        tabs=_buttons(list(tabs)) if len(tabs) > 1 else "",
        panels="\n".join(_panel(number, each) for number, each in enumerate(tabs.items())),
    )


def _buttons(names: list[str]) -> str:
    buttons = "".join(
        f'<button role="tab" id="tab-{number}" aria-controls="panel-{number}">{escape(name)}'
        "</button>"
        for number, name in enumerate(names)
    )
    return f'<nav role="tablist">{buttons}</nav>'


def _panel(number: int, tab: tuple[str, str]) -> str:
    name, content = tab
    return (
        f'<section role="tabpanel" id="panel-{number}" aria-label="{escape(name)}">\n{content}\n'
        "</section>"
    )


def _scripts(content: str) -> str:
    """Return what the figures on the page need to be drawn."""
    if f'class="{PLOTLY}"' not in content:
        return ""
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script>"
