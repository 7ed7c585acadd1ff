"""Where events go: to a file, to an HTTP endpoint, or where the client library is told to."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.errors import ConfigurationError

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient

_OWN = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT__TYPE")
"""Variables by which the client library itself is configured."""


def is_wanted(target: str) -> bool:
    """Whether events are to be emitted.

    Args:
        target: The setting; "" leaves it to the variables of the client library. Those may be there
            for another program, so they count only where the library is installed.

    Raises:
        ConfigurationError: They are, by the setting, but the library is missing.
    """
    installed = find_spec("openlineage") is not None and find_spec("openlineage.client") is not None
    if not target:
        return installed and any(os.environ.get(name) for name in _OWN)
    if not installed:
        raise ConfigurationError(
            f"PERDURE_OPENLINEAGE is {target!r}, but openlineage-python is not installed",
            hint="pip install 'perdure[lineage]', or unset it",
        )
    return True


def client(target: str) -> "OpenLineageClient":
    """Return a client that emits to the target, or where its own configuration says."""
    from openlineage.client import OpenLineageClient

    if not target:
        return OpenLineageClient()
    return OpenLineageClient(config={"transport": transport(target)})


def transport(target: str) -> dict[str, Any]:
    """Return the client's configuration of a transport.

    Args:
        target: ``http://host:5000``, which may have a path other than the usual
            ``/api/v1/lineage``, or the path of a file to which one event per line is added.
    """
    scheme, colon, rest = target.partition("://")
    if colon and scheme in ("http", "https"):
        host, slash, endpoint = rest.partition("/")
        where = {"endpoint": endpoint} if slash and endpoint else {}
        key = os.environ.get("OPENLINEAGE_API_KEY")
        auth = {"auth": {"type": "api_key", "apiKey": key}} if key else {}
        return {"type": "http", "url": f"{scheme}://{host}", **where, **auth}
    if colon and scheme != "file":
        raise ConfigurationError(
            f"PERDURE_OPENLINEAGE is {target!r}: events cannot be sent by {scheme}",
            hint="use http, https or the path of a file; the client library's own configuration "
            "(OPENLINEAGE_CONFIG) knows more, if PERDURE_OPENLINEAGE is unset",
        )
    path = Path(rest if colon else target).expanduser().absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    return {"type": "file", "log_file_path": str(path), "append": True}
