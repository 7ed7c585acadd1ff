"""Where this process finds runs: looking costs opening a file, driving starts the embedded runtime.

The journal is the meeting point: every process of one home sees the same runs, whoever drives them.
"""

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from perdure._core.model import Phase
from perdure._core.records import RunRow
from perdure.config import Config
from perdure.errors import ActionNotFoundError, RunNotFoundError

if TYPE_CHECKING:
    from perdure._embedded import Runtime
    from perdure._journal.sqlite import SqliteJournal
    from perdure._ports import Blobs
    from perdure._views.model import ActionDetail, ActionSummary, ChildGroup, RunSummary
    from perdure._views.sqlite import SqliteViews

_views: "tuple[Config, SqliteViews] | None" = None
_blobs: "tuple[Config, Blobs] | None" = None


def runtime() -> "Runtime":
    """Return the embedded runtime of this process, started on first use."""
    from perdure import _embedded

    return _embedded.runtime()


@contextmanager
def runtime_ahead() -> Iterator[None]:
    """The runtime is about to be needed: what takes longest to start does so from now on."""
    if running() is not None:
        yield
        return
    from perdure._engines.launching import launched_ahead

    with launched_ahead():
        yield


def running() -> "Runtime | None":
    """Return the runtime if this process has started it."""
    embedded = sys.modules.get("perdure._embedded")
    return None if embedded is None else embedded.running()


def config() -> Config:
    """Return the settings that hold in this process."""
    started = running()
    return Config() if started is None else started.config


def views() -> "SqliteViews":
    """Return the read side of the journal; it works without a runtime."""
    global _views
    from perdure._views.sqlite import SqliteViews

    current = config().checked()
    if _views is None or _views[0] != current:
        if _views is not None:
            _views[1].close()
        _views = (current, SqliteViews(current.journal))
    return _views[1]


def blobs() -> "Blobs":
    """Return the blobs of this process's home."""
    global _blobs
    from perdure._blobs.opening import open_blobs

    started = running()
    if started is not None:
        return started.blobs
    current = config().checked()
    if _blobs is None or _blobs[0] != current:
        sync = current.durability == "full"
        _blobs = (current, open_blobs(current.blobs, current.storage, sync=sync))
    return _blobs[1]


@contextmanager
def journal() -> "Iterator[SqliteJournal]":
    """Open the journal of this process's home for a moment, to write what needs no runtime."""
    from perdure._journal.sqlite import SqliteJournal

    current = config().checked()
    opened = SqliteJournal(current.journal, current.durability)
    try:
        yield opened
    finally:
        opened.close()


def keep_blobs(digests: Iterable[bytes]) -> None:
    """Keep blobs of an old run until a new one that refers to them is recorded.

    Raises:
        BlobMissingError: One is gone.
    """
    store = blobs()
    for digest in digests:
        store.keep(digest)


def find(name: str) -> RunRow | None:
    """Return the run of that name as it stands now, or None."""
    detail = views().run(name)
    if detail is None:
        return None
    brief = detail.summary
    detail.row.phase = _actual(detail.row.phase, detail.row.owner, waits=brief.waits)
    return detail.row


def get(name: str) -> RunRow:
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


def listed(phase: Phase | None = None, task: str | None = None) -> "Iterator[RunSummary]":
    """Yield runs, newest first, in the phases they are in now."""
    before, page = None, 200
    while True:
        # what is not final may be in another phase than the recorded one
        recorded = phase if phase is not None and phase.final else None
        found = views().runs(phase=recorded, task=task, limit=page, before=before)
        for each in found:
            actual = _actual(each.phase, each.owner, waits=each.waits)
            if phase in (None, actual):
                yield msgspec.structs.replace(each, phase=actual)
        if len(found) < page:
            return
        before = found[-1].key


def actions(row: RunRow) -> "Iterator[ActionSummary]":
    """Yield the recorded actions of a run, parents first, in the phases they are in now."""
    return (_stopped_with(row, each) for each in views().tree(row.key))


def groups(row: RunRow, parent: int) -> "list[ChildGroup]":
    """Return the children of an action of a run by group, in the phases they are in now."""
    return [
        msgspec.structs.replace(each, counts=_phases_now(row, each.counts))
        for each in views().groups(row.key, parent)
    ]


def members(row: RunRow, parent: int, group: str, limit: int) -> "list[ActionSummary]":
    """Return the children of a group that tell most of it, in the phases they are in now."""
    return [_stopped_with(row, each) for each in views().members(row.key, parent, group, limit)]


def action(row: RunRow, reference: str) -> "ActionDetail":
    """Return an action of a run by its number (``12``, ``#12``) or the beginning of its id.

    Raises:
        ActionNotFoundError: The run has no such action, or several.
    """
    found = views().action(row.key, f"#{reference}") if reference.isdecimal() else None
    found = found or views().action(row.key, reference)
    if found is None:
        raise ActionNotFoundError(
            f"run {row.name!r} has no action {reference!r}",
            hint=f"numbers and ids are in: perdure show {row.name}",
        )
    return msgspec.structs.replace(found, summary=_stopped_with(row, found.summary))


def _stopped_with(row: RunRow, summary: "ActionSummary") -> "ActionSummary":
    """Return an action as interrupted if it was under way when its run was."""
    phase = _phase_now(row, summary.phase)
    return summary if phase is summary.phase else msgspec.structs.replace(summary, phase=phase)


def _phases_now(row: RunRow, counts: dict[Phase, int]) -> dict[Phase, int]:
    now: dict[Phase, int] = {}
    for recorded, count in counts.items():
        phase = _phase_now(row, recorded)
        now[phase] = now.get(phase, 0) + count
    return now


def _phase_now(row: RunRow, recorded: Phase) -> Phase:
    interrupted = row.phase is Phase.INTERRUPTED and not recorded.final
    return Phase.INTERRUPTED if interrupted else recorded


def _actual(recorded: Phase, owner: str, *, waits: bool) -> Phase:
    """Return the phase a run is in now, which its journal may be late to tell."""
    from perdure._controller.presence import is_alive

    if recorded.final:
        return recorded
    if not owner or not is_alive(config().controllers, owner):
        return Phase.INTERRUPTED
    if waits:
        return Phase.WAITING
    return Phase.QUEUED if recorded is Phase.INTERRUPTED else recorded
