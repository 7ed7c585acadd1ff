"""A journal in plain memory, for simulations: the same promises, without a disk."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from fnmatch import fnmatchcase
from typing import assert_never

from perdure._core import artifacts
from perdure._core.artifacts import LATEST, ArtifactRow, Publication, Publisher, Wanted
from perdure._core.model import Phase
from perdure._core.sharing import Ask, Grant, QueueLimits, Stake, Starts, divide
from perdure._ports import (
    ActionRow,
    AttemptRow,
    CacheAnswer,
    CacheQuery,
    CacheRow,
    Claim,
    ClaimEnd,
    EventRow,
    Page,
    Row,
    RunEnd,
    RunRow,
)
from perdure.errors import (
    ArtifactNotFoundError,
    LeaseLostError,
    RunConflictError,
    RunInUseError,
    RunNotFoundError,
    StorageError,
)

PAGE = 3
"""Children that are told at a time: few, so that small programs have several pages."""


class MemoryJournal:
    """The :class:`~perdure._ports.Journal` port in memory. Rows are copied on their way in and out.

    Attributes:
        attempts: Recorded attempts, by run, action and number.
        events: Recorded events, in order.
        queues: The queues of all who share it.
    """

    def __init__(self) -> None:
        self.attempts: dict[tuple[int, int, int], AttemptRow] = {}
        self.events: list[EventRow] = []
        self.queues = MemoryQueues()
        self._runs: dict[int, RunRow] = {}
        self._keys: dict[str, int] = {}
        self._actions: dict[int, dict[int, ActionRow]] = {}
        self._places: dict[tuple[int, bytes], int] = {}
        self._artifacts: list[ArtifactRow] = []
        self._published: dict[tuple[int, bytes], ArtifactRow] = {}
        self._cache: dict[bytes, CacheRow] = {}
        self._claims: dict[bytes, Claim] = {}

    def create_run(self, row: RunRow) -> int:
        """Store a new run and return its key."""
        if row.name in self._keys:
            raise RunConflictError("a run of this name exists", run=row.name)
        key = len(self._runs) + 1
        stored = copy(row)
        stored.key = key
        self._runs[key] = stored
        self._keys[row.name] = key
        self._actions[key] = {}
        return key

    def load_run(self, name: str) -> RunRow | None:
        """Return the run, or None."""
        key = self._keys.get(name)
        return None if key is None else copy(self._runs[key])

    def acquire(self, run: int, owner: str, is_alive: Callable[[str], bool]) -> int:
        """Take the run's lease and return the new epoch."""
        row = self._runs.get(run)
        if row is None:
            raise RunNotFoundError(f"the journal has no run with key {run}")
        if row.owner not in ("", owner) and is_alive(row.owner):
            raise RunInUseError(
                f"the controller {row.owner} drives this run",
                run=row.name,
                hint="wait for it to finish, or end that process and resume the run",
            )
        row.owner = owner
        row.epoch += 1
        return row.epoch

    def release(self, run: int, epoch: int) -> None:
        """Give the lease back, unless the epoch is stale."""
        row = self._runs.get(run)
        if row is not None and row.epoch == epoch:
            row.owner = ""

    def forget(self, run: int) -> None:
        """Nothing to do: it is all in memory."""

    def relax(self) -> None:
        """Likewise."""

    def commit(self, rows: Sequence[Row], epochs: dict[int, int]) -> frozenset[int]:
        """Write all rows of runs whose epoch is current; return the other runs."""
        runs = epochs.keys() | {row.run for row in rows}
        stale = frozenset(run for run in runs if self._epoch(run) != epochs.get(run, -1))
        current = [row for row in rows if row.run not in stale]
        self._refuse_taken(current)
        for row in current:
            self._write(copy(row))
        return stale

    def lookup(self, run: int, ids: Sequence[bytes]) -> dict[bytes, ActionRow]:
        """Return those of the actions that have a row."""
        places = ((id_, self._places.get((run, id_))) for id_ in ids)
        return {id_: copy(self._actions[run][seq]) for id_, seq in places if seq is not None}

    def last_seq(self, run: int) -> int:
        """Return the largest ``seq`` of the run, 0 if it has no rows."""
        return max(self._actions.get(run, ()), default=0)

    def children(self, run: int, parent: int) -> Iterator[tuple[bytes, str, int]]:
        """Yield ``(id, task, seq)`` of the finished children of the action at ``parent``."""
        for seq, row in sorted(self._actions.get(run, {}).items()):
            if row.parent == parent and row.phase.final:
                yield row.id, row.task, seq

    def recorded(self, run: int, parent: int, after: int) -> Page:
        """Return the next recorded children of the one at ``parent``, of those after a place."""
        places = sorted(
            seq for seq, row in self._actions.get(run, {}).items()
            if row.parent == parent and seq > after
        )  # fmt: skip
        rows = [self._actions[run][seq] for seq in places[:PAGE]]
        values = {row.id: row.outcome.value for row in rows if row.outcome}
        told = {id_: value for id_, value in values.items() if value is not None}
        return Page(
            ids=b"".join(told),
            values=list(told.values()),
            others=[row.id for row in rows if row.id not in told],
            upto=rows[-1].seq if rows else after,
            last=len(places) <= PAGE,
        )

    def publish(
        self, publication: Publication, publisher: Publisher | None, at: float
    ) -> ArtifactRow:
        """Store a published value, and return the version that it is."""
        step = (publisher.run, publisher.step) if publisher else None
        if publisher is not None and self._epoch(publisher.run) != publisher.epoch:
            raise LeaseLostError("another controller drives the run", run=publisher.run_name)
        if step in self._published:
            return copy(self._published[step])
        row = self._known(publication)
        fresh = row is None
        row = row or self._made(publication, publisher, at)
        self._tag(row, publication.tags)
        if fresh:
            self._artifacts.append(row)
        if step is not None:
            self._published[step] = row
        return copy(row)

    def find_artifact(self, wanted: Wanted) -> ArtifactRow | None:
        """Return the version of an artifact that is asked for, or None."""
        rows = [row for row in reversed(self._artifacts) if row.name == wanted.name]
        rows = [row for row in rows if artifacts.fits(row.partitions, wanted.partitions)]
        asked = [row for row in rows if wanted.version in (LATEST, row.version)]
        asked = asked or [row for row in rows if wanted.version in row.tags]
        return copy(asked[0]) if asked else None

    def tag(self, row: ArtifactRow, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
        """Let tags point to a version, and take others from it."""
        stored = next(each for each in self._artifacts if each.key == row.key)
        for text in remove:
            if text not in stored.tags:
                raise ArtifactNotFoundError(f"{row.name}@{row.version} has no tag {text!r}")
        self._tag(stored, add)
        stored.tags = tuple(text for text in stored.tags if text not in remove)

    def _known(self, publication: Publication) -> ArtifactRow | None:
        rows = [row for row in reversed(self._artifacts) if row.name == publication.name]
        if publication.version:
            rows = [row for row in rows if row.version == publication.version]
            if rows and not artifacts.is_same(rows[0], publication):
                raise artifacts.taken(publication)
        else:
            rows = [row for row in rows if row.partitions == publication.partitions]
        return rows[0] if rows and artifacts.is_same(rows[0], publication) else None

    def _made(
        self, publication: Publication, publisher: Publisher | None, at: float
    ) -> ArtifactRow:
        name, version = publication.name, publication.version
        others = [row for row in self._artifacts if row.name == name]
        if version == LATEST or any(version in row.tags for row in others):
            raise artifacts.is_tag(name, version)
        return ArtifactRow(
            key=len(self._artifacts) + 1,
            name=name,
            version=version or artifacts.next_version(row.version for row in others),
            kind=publication.kind,
            created=at,
            digest=publication.digest,
            value=publication.value,
            blobs=publication.blobs,
            metadata=publication.metadata,
            partitions=publication.partitions,
            run=publisher.run_name if publisher else "",
            seq=publisher.seq if publisher else 0,
            action=publisher.action if publisher else b"",
        )

    def _tag(self, row: ArtifactRow, tags: tuple[str, ...]) -> None:
        others = [other for other in self._artifacts if other.name == row.name]
        for text in tags:
            if text == LATEST:
                raise artifacts.is_tag(row.name, text)
            if text in {row.version, *(other.version for other in others)}:
                raise artifacts.is_version(row.name, text)
        for other in others:
            other.tags = tuple(text for text in other.tags if text not in tags)
        row.tags = tuple(sorted({*row.tags, *tags}))

    def cached(
        self, queries: Sequence[CacheQuery], is_alive: Callable[[str], bool]
    ) -> list[CacheAnswer]:
        """Return what is kept under keys; claim those under which nothing is, where asked to."""
        return [self._cached(query, is_alive) for query in queries]

    def _cached(self, query: CacheQuery, is_alive: Callable[[str], bool]) -> CacheAnswer:
        entry = self._cache.get(query.key)
        if entry is not None and entry.created >= query.since:
            return CacheAnswer(copy(entry))
        expired = entry is not None
        if query.claim is not None:
            held = self._claims.get(query.key)
            if held is not None and held.epoch == self._epoch(held.run):
                owner = self._runs[held.run].owner
                if owner and is_alive(owner):
                    return CacheAnswer(expired=expired, held=True)
            self._claims[query.key] = query.claim
        return CacheAnswer(expired=expired)

    def clear_cache(self, task: str | None = None, before: float | None = None) -> int:
        """Forget kept values; return how many there were."""
        going = [
            key for key, row in self._cache.items()
            if (task is None or fnmatchcase(row.task, task))
            and (before is None or row.created < before)
        ]  # fmt: skip
        for key in going:
            del self._cache[key]
        return len(going)

    def close(self) -> None:
        """Do nothing: what is in memory goes with the object."""

    def _epoch(self, run: int) -> int | None:
        row = self._runs.get(run)
        return None if row is None else row.epoch

    def _abort_open_actions(self, end: RunEnd) -> None:
        for action in self._actions[end.run].values():
            if action.ended is None:
                action.phase, action.ended = Phase.ABORTED, end.at

    def _refuse_taken(self, rows: Sequence[Row]) -> None:
        # Before anything is written, so that a refused commit leaves nothing behind.
        fresh = [(row.run, row.seq) for row in rows if isinstance(row, ActionRow) and row.fresh]
        if len(set(fresh)) < len(fresh) or any(seq in self._actions[run] for run, seq in fresh):
            raise StorageError("a fresh row's place is taken; nothing was written")

    def _write(self, row: Row) -> None:
        match row:
            case ActionRow():
                row.fresh = False
                self._actions[row.run][row.seq] = row
                self._places[row.run, row.id] = row.seq
            case AttemptRow():
                self.attempts[row.run, row.seq, row.number] = row
            case EventRow():
                self.events.append(row)
            case RunEnd():
                run = self._runs[row.run]
                run.phase = row.phase
                run.ended = row.at if row.phase.final else None
                run.outcome = row.outcome
                if row.phase.final and run.epoch > 1:
                    self._abort_open_actions(row)
            case CacheRow():
                held = self._claims.get(row.key)
                if held is not None and held.run == row.run:
                    del self._claims[row.key]
                row.run = 0
                self._cache[row.key] = row
            case ClaimEnd():
                held = self._claims.get(row.key)
                if held is not None and (held.run, held.number) == (row.run, row.number):
                    del self._claims[row.key]
            case _:
                assert_never(row)


class MemoryQueues:
    """The :class:`~perdure._ports.Queues` port in memory."""

    def __init__(self) -> None:
        self._limits: dict[str, QueueLimits] = {}
        self._logs: dict[str, Starts] = {}
        self._stakes: dict[str, dict[str, Stake]] = {}

    def declare(self, limits: Sequence[QueueLimits], at: float) -> list[QueueLimits | None]:
        """Let these limits hold from now on; return those that held before."""
        before = [self._limits.get(each.name) for each in limits]
        self._limits |= {each.name: each for each in limits}
        return before

    def remove(self, name: str) -> bool:
        """Forget a queue; return whether there was one."""
        self._stakes.pop(name, None)
        self._logs.pop(name, None)
        return self._limits.pop(name, None) is not None

    def known(self, names: Sequence[str]) -> dict[str, QueueLimits]:
        """Return the limits of those of the queues that there are."""
        return {name: self._limits[name] for name in names if name in self._limits}

    def stakes(self, name: str) -> list[Stake]:
        """Return what controllers have of a queue, those that are gone included."""
        return [*self._stakes.get(name, {}).values()]

    def share(
        self, owner: str, asks: Sequence[Ask], now: float, is_alive: Callable[[str], bool]
    ) -> list[Grant]:
        """Give a controller its parts of queues."""
        return [self._share(owner, ask, now, is_alive) for ask in asks]

    def _share(self, owner: str, ask: Ask, now: float, is_alive: Callable[[str], bool]) -> Grant:
        limits = self._limits.get(ask.queue)
        if limits is None:
            return Grant(ask.queue)
        stakes = self._stakes.setdefault(ask.queue, {})
        gone = [
            each for each in stakes.values() if each.owner != owner and not is_alive(each.owner)
        ]
        for each in gone:
            del stakes[each.owner]
        log = self._logs.get(ask.queue, ())
        divided = divide(limits, log, [*stakes.values()], owner, ask, now, gone)
        self._logs[ask.queue] = divided.log
        stakes.pop(owner, None)
        if divided.stake is not None:
            stakes[owner] = divided.stake
        return divided.grant
