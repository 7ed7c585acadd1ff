"""Where this process finds runs: looking costs opening a file, driving starts the embedded runtime.

The journal is the meeting point: every process of one home sees the same runs, whoever drives them.
"""

import difflib
import sys
from typing import TYPE_CHECKING

from perdure.config import Config
from perdure.errors import ActionNotFoundError, RunNotFoundError

if TYPE_CHECKING:
    from perdure._blobs.local import LocalBlobs
    from perdure._embedded import Runtime
    from perdure._views.sqlite import ActionView, RunView, SqliteViews

_views: "tuple[Config, SqliteViews] | None" = None


def runtime() -> "Runtime":
    """Return the embedded runtime of this process, started on first use."""
    from perdure import _embedded

    return _embedded.runtime()


def running() -> "Runtime | None":
    """Return the runtime if this process has started it."""
    embedded = sys.modules.get("perdure._embedded")
    return None if embedded is None else embedded._runtime  # noqa: SLF001  # without starting it


def config() -> Config:
    """Return the settings that hold in this process."""
    started = running()
    return Config() if started is None else started.config


def views() -> "SqliteViews":
    """Return the read side of the journal; it works without a runtime."""
    global _views
    from perdure._views.sqlite import SqliteViews

    current = config()
    if _views is None or _views[0] != current:
        _views = (current, SqliteViews(current.journal))
    return _views[1]


def blobs() -> "LocalBlobs":
    """Return the blobs of this process's home."""
    from perdure._blobs.local import LocalBlobs

    started = running()
    return LocalBlobs(config().blobs) if started is None else started.blobs


def find(name: str) -> "RunView | None":
    """Return the run of that name, or None."""
    return views().run(name)


def get(name: str) -> "RunView":
    """Return the run of that name.

    Raises:
        RunNotFoundError: There is none.
    """
    row = find(name)
    if row is not None:
        return row
    near = difflib.get_close_matches(name, [each.name for each in views().runs(limit=1000)], 3)
    raise RunNotFoundError(
        f"there is no run {name!r} in {config().home}",
        hint=f"did you mean {', '.join(near)}?" if near else "perdure ls shows the runs there are",
    )


def action(row: "RunView", reference: str) -> "ActionView":
    """Return an action of a run by its id or the beginning of it.

    Raises:
        ActionNotFoundError: The run has no such action, or several.
    """
    found = views().action(row.key, reference)
    if found is None:
        raise ActionNotFoundError(
            f"run {row.name!r} has no action {reference!r}, or more than one",
            hint=f"ids, or the beginning of them, are in: perdure show {row.name}",
        )
    return found
