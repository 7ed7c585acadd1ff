"""Where this process finds runs: looking costs opening a file, driving starts the embedded runtime.

The journal is the meeting point: every process of one home sees the same runs, whoever drives them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.config import Config
from perdure.errors import RunNotFoundError

if TYPE_CHECKING:
    from perdure._blobs.local import LocalBlobs
    from perdure._embedded import Runtime
    from perdure._views.sqlite import RunView, SqliteViews

_runtime: "Runtime | None" = None
_views: "tuple[Config, SqliteViews] | None" = None


def runtime() -> "Runtime":
    """Return the embedded runtime of this process, started on first use."""
    global _runtime
    from perdure import _embedded

    _runtime = _embedded.runtime()
    return _runtime


def running() -> "Runtime | None":
    """Return the runtime if this process has started it."""
    return _runtime


def config() -> Config:
    """Return the settings that hold in this process."""
    return Config() if _runtime is None else _runtime.config


def views() -> "SqliteViews":
    """Return the read side of the journal; it works without a runtime."""
    global _views
    from perdure._views.sqlite import SqliteViews

    if _runtime is not None:
        return _runtime.views
    current = Config()
    if _views is None or _views[0] != current:
        _views = (current, SqliteViews(current.journal))
    return _views[1]


def blobs() -> "LocalBlobs":
    """Return the blobs of this process's home."""
    from perdure._blobs.local import LocalBlobs

    return LocalBlobs(config().blobs)


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
    near = _near(name, [each.name for each in views().runs(limit=1000)])
    raise RunNotFoundError(
        f"there is no run {name!r} in {config().home}",
        hint=f"did you mean {near}?" if near else "perdure ls shows the runs there are",
    )


def _near(name: str, names: Sequence[str]) -> str:
    import difflib

    return ", ".join(difflib.get_close_matches(name, names, 3, cutoff=0.7))
