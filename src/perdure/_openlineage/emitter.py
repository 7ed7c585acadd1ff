"""The thread that tells: it reads what was committed, and emits events of it.

It looks a few times a second, as a screen would, through connections of its own. If events cannot
be sent, that is told once, and for a while no more is tried; what happened meanwhile is not told
later. Of the last moments before a crash nothing may have been told.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure._core.model import Phase
from perdure._core.records import RunRow
from perdure._ports import Blobs
from perdure._views.news import ActionNews
from perdure._views.sqlite import SqliteViews

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient

    from perdure._openlineage.events import Events, Known

POLL_SECONDS = 0.25
PAGE = 500
MUTE_SECONDS = 30.0
"""How long nothing is sent after something could not be."""

_ROOT = 1  # the place of a run's root action

CLOSE_SECONDS = 10.0
"""How long the end of the program waits for what is still to be told."""


class Emitter:
    """Follows runs and emits their events until it is closed.

    Args:
        target: See :func:`~perdure._openlineage.setting.transport`; "": the client's own settings.
        journal: Path of the journal.
        blobs: Where large values are.
        warn: Tells the user something.
    """

    def __init__(
        self, target: str, journal: Path, blobs: Blobs, warn: Callable[[str], None]
    ) -> None:
        self._target = target
        self._blobs = blobs
        self._warn = warn
        self._views = SqliteViews(journal)
        self._followed: dict[str, _Followed] = {}
        self._new: list[tuple[str, float, Phase | None]] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._told = False
        self._mute_until = 0.0
        self._client: OpenLineageClient | None = None
        self._thread = threading.Thread(target=self._work, name="perdure-openlineage", daemon=True)
        self._thread.start()

    def follow(self, name: str, before: Phase | None) -> None:
        """Tell of a run from now on.

        Args:
            name: Its name.
            before: The recorded phase in which it was before it was driven; None: it is new.
        """
        with self._lock:
            self._new.append((name, time.time(), before))
        self._wake.set()

    def close(self) -> None:
        """Tell what is still to be told, as far as that does not take long."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._complain("some events were not sent in time")
        self._views.close()

    def emit(self, event: Any) -> None:
        """Send an event; a failure is told once."""
        if time.monotonic() < self._mute_until:
            return
        try:
            if self._client is None:
                from perdure._openlineage.setting import client

                self._client = client(self._target)
            self._client.emit(event)
        except Exception as error:  # whatever a transport raises must not end the thread
            self._mute_until = time.monotonic() + MUTE_SECONDS
            self._complain(str(error))

    def _work(self) -> None:
        while True:
            self._wake.wait(POLL_SECONDS if self._followed else None)
            self._wake.clear()
            closing = self._closing  # looked at before the last look at the journal
            try:
                self._look(closing)
            except Exception as error:  # a journal that is damaged or gone is told by others
                self._complain(f"{type(error).__name__}: {error}")
                self._followed.clear()
            if closing:
                if self._client is not None:
                    self._client.close()
                return

    def _look(self, closing: bool) -> None:
        with self._lock:
            new, self._new = self._new, []
        for name, since, before in new:
            self._followed[name] = _Followed(self, self._views, self._blobs, name, since, before)
        for name, followed in list(self._followed.items()):
            if followed.look(closing):
                del self._followed[name]

    def _complain(self, text: str) -> None:
        if not self._told:
            self._told = True
            self._warn(f"OpenLineage events cannot be sent; runs go on all the same: {text}")


class _Followed:
    """A run that is told of."""

    def __init__(
        self,
        emitter: Emitter,
        views: SqliteViews,
        blobs: Blobs,
        name: str,
        since: float,
        before: Phase | None,
    ) -> None:
        self._emitter = emitter
        self._views = views
        self._blobs = blobs
        self._name = name
        self._since = since
        self._before = before
        self._events: Events | None = None
        self._key = self._first = self._last = 0
        self._open: dict[int, bool] = {}  # places without an outcome; whether their start was told
        self._got: dict[int, list[tuple[str, str]]] = {}
        self._parents: dict[int, ActionNews] = {}

    def look(self, closing: bool) -> bool:
        """Tell what is new; return whether there is nothing more to come."""
        detail = self._views.run(self._name)
        if detail is None:
            return True
        row = detail.row
        if self._events is None:
            if not row.owner and not row.phase.final and not closing:
                return False  # it is about to be driven
            self._begin(row)
        over = row.phase.final
        self._tell_actions()
        if over or closing:
            self._end(row)
        return over

    def _begin(self, row: RunRow) -> None:
        from perdure._openlineage.events import Events

        self._events = Events(row, self._blobs)
        self._key = row.key
        died = self._before is not None and not (
            self._before.final or self._before is Phase.INTERRUPTED
        )
        if died:
            self._emitter.emit(self._events.lost(self._since))
        if self._before is not None:
            self._first = self._last = self._views.news.last(row.key)
        self._emitter.emit(
            self._events.started(row.created if self._before is None else self._since)
        )

    def _end(self, row: RunRow) -> None:
        assert self._events is not None
        if self._first:
            for news in self._views.news.ended_since(self._key, self._since, self._first):
                self._tell(news)
        over = row.phase.final
        self._emitter.emit(
            self._events.ended(
                row.phase if over else Phase.INTERRUPTED,
                row.ended or time.time(),
                row.outcome if over else None,
                self._known(_ROOT),
            )
        )

    def _tell_actions(self) -> None:
        open_ = list(self._open)
        for start in range(0, len(open_), PAGE):
            for news in self._views.news.at(self._key, open_[start : start + PAGE]):
                self._tell(news)
        while page := self._views.news.after(self._key, self._last, PAGE):
            for news in page:
                self._last = news.seq
                self._tell(news)

    def _tell(self, news: ActionNews) -> None:
        if news.task == "artifacts.get" and news.value is not None:
            self._remember(news)
        if news.kind != "task" or news.parent == 0:
            return
        assert self._events is not None
        parent = self._parent(news.parent)
        if parent is None:
            return
        if news.started is not None and not self._open.get(news.seq, False):
            self._emitter.emit(self._events.action_started(news, parent))
        if not news.phase.final:
            self._open[news.seq] = news.started is not None
            return
        self._open.pop(news.seq, None)
        self._emitter.emit(self._events.action_ended(news, parent, self._known(news.seq)))

    def _remember(self, news: ActionNews) -> None:
        from perdure import _serde

        found = _serde.loads(news.value or b"", self._blobs)
        self._got.setdefault(news.parent, []).append((found["name"], found["version"]))

    def _known(self, seq: int) -> "Known":
        from perdure._openlineage.events import Known

        published = self._views.artifacts.published_by(self._key, seq)
        return Known(self._got.pop(seq, ()), published)

    def _parent(self, seq: int) -> ActionNews | None:
        if seq not in self._parents:
            if len(self._parents) > PAGE:
                self._parents.clear()
            found = self._views.news.at(self._key, [seq])
            if not found:
                return None
            self._parents[seq] = found[0]
        return self._parents[seq]
