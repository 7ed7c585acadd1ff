"""Where packages are looked for: what pip is configured to do holds for uv, too.

uv reads neither ``pip.conf`` nor ``PIP_*``. Whoever has configured pip, and not uv, expects the
packages that pip finds to be found here.
"""

import os
import shlex
import subprocess
import sys
from ast import literal_eval
from collections.abc import Mapping

_OF_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
}
"""Options of pip, with what uv calls them."""

_OF_UV = frozenset({*_OF_PIP.values(), "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE"})
_OF_UV -= {"SSL_CERT_FILE"}

_SECTIONS = ("global", "install", ":env:")
"""Of pip's configuration, the later one wins."""

_SECONDS = 20.0


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that make uv look where pip would.

    Args:
        environ: The environment of this process. If it says where uv is to look, that is it.
    """
    if not _OF_UV.isdisjoint(environ):
        return {}
    configured = _configured()
    found = {name: configured[option] for option, name in _OF_PIP.items() if option in configured}
    if "SSL_CERT_FILE" in environ:
        found.pop("SSL_CERT_FILE", None)
    for name, separator in (("UV_INDEX", " "), ("UV_FIND_LINKS", ",")):
        if name in found:
            found[name] = separator.join(found[name].split())
    if "UV_INDEX" in found and "UV_INDEX_STRATEGY" not in environ:
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # to pip all indexes are one
    return found


def _configured() -> dict[str, str]:
    """Return the configuration of this interpreter's pip; nothing, if it has none."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listed.stdout.splitlines() if listed.returncode == 0 else ():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in sections:
            sections[section][option] = _unquoted(value)
    return sections["global"] | sections["install"] | sections[":env:"]


def _unquoted(value: str) -> str:
    try:
        return str(literal_eval(value))
    except (SyntaxError, ValueError):
        return " ".join(shlex.split(value))
