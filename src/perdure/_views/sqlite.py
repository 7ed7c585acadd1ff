"""Views over the SQLite journal.

Long results come in pages, so that no read stays open while somebody scrolls: an open read keeps
the write-ahead log from being reset, and it would grow for as long.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from perdure._core.model import Failure, Outcome, Phase
from perdure._journal.codes import KINDS, PHASE_NUMBERS, PHASES, RUIN
from perdure._journal.rows import (
    RUN_COLUMNS,
    decode_digests,
    decode_failure,
    decode_note,
    decode_origin,
    decode_run,
    decode_spans,
)
from perdure._journal.tallies import BLOCK
from perdure._views.artifacts import ArtifactViews
from perdure._views.cache import CacheViews
from perdure._views.conditions import ConditionViews
from perdure._views.connections import ReadConnections
from perdure._views.lineage import LineageViews
from perdure._views.model import (
    ActionDetail,
    ActionRecord,
    ActionSummary,
    AttemptView,
    ChildGroup,
    EventView,
    FailedAction,
    RunDetail,
    RunSummary,
    TaskCount,
    WorkerSpan,
)
from perdure._views.news import News
from perdure._views.queues import QueueViews
from perdure.errors import ActionNotFoundError

PAGE = 1000
_SIMPLY = (PHASE_NUMBERS[Phase.SUCCEEDED], PHASE_NUMBERS[Phase.CACHED])
SHORTEST_PREFIX = 4
ID_DIGITS = 32

# `seq` counts up from 1 without gaps, so the largest is the number of actions, at the cost of a
# look at the end of the run.
_RUNS = (
    "SELECT key, name, task, phase, owner, epoch, created, ended, error, parent, cwd, python, "
    "(SELECT max(seq) FROM actions WHERE run = runs.key), "
    "(SELECT origin IS NOT NULL FROM actions WHERE run = runs.key AND seq = 1) FROM runs"
)
_SUMMARY = (
    "a.seq, a.parent, a.id, t.name, a.kind, a.phase, a.created, a.started, a.ended, a.attempts, "
    "a.losses, a.label, a.wake_at, a.error"
)
_GROUP = "iif(a.label = '', t.name, a.label)"
_COUNTED = "(SELECT counted FROM runs WHERE key = :run)"
_ACTIONS = "FROM actions AS a JOIN tasks AS t ON t.id = a.task WHERE a.run = ?"


class _Tally(NamedTuple):
    block: int
    group: str
    phase: int
    actions: int


class SqliteViews:
    """Questions about the runs of one journal. Safe to use from several threads.

    A journal that does not exist yet is one without runs.

    Attributes:
        artifacts: Questions about published values.
        cache: Questions about kept values.
        conditions: Questions about what runs wait for people to answer.
        queues: Questions about queues.
        lineage: Questions about where values came from.
        news: What has happened since one last looked.

    Args:
        path: The journal.
    """

    def __init__(self, path: Path) -> None:
        self._db = ReadConnections(path)
        self.artifacts = ArtifactViews(self._db)
        self.lineage = LineageViews(self._db)
        self.news = News(self._db)
        self.cache = CacheViews(self._db)
        self.conditions = ConditionViews(self._db)
        self.queues = QueueViews(self._db)

    def close(self) -> None:
        """Close the connections; a later question opens new ones."""
        self._db.close()

    def check(self) -> list[str]:
        """Return what is wrong with the file, nothing if it is sound. Reads all of it."""
        found = [text for (text,) in self._db.rows("PRAGMA quick_check(20)")]
        return [] if found == ["ok"] else found

    # --- runs ---

    def runs(
        self,
        *,
        phase: Phase | None = None,
        task: str | None = None,
        name: str | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> list[RunSummary]:
        """Return runs, newest first.

        Args:
            phase: Only those whose recorded phase this is.
            task: Only those of this root task; ``*`` and ``?`` are wildcards.
            name: Only those of this name; ``*`` and ``?`` are wildcards.
            limit: At most so many.
            before: Only those older than the run of this key: the last one of the page before.
        """
        wanted: dict[str, object] = {"phase <> ?": RUIN}
        if phase is not None:
            wanted["phase = ?"] = PHASE_NUMBERS[phase]
        if task is not None:
            wanted["task GLOB ?"] = task
        if name is not None:
            wanted["name GLOB ?"] = name
        if before is not None:
            wanted["key < ?"] = before
        query = f"{_RUNS} WHERE {' AND '.join(wanted)} ORDER BY key DESC LIMIT ?"
        return [self._run_summary(row) for row in self._db.rows(query, *wanted.values(), limit)]

    def run(self, name: str) -> RunDetail | None:
        """Return everything about a run but its actions, or None."""
        summaries = self._db.rows(f"{_RUNS} WHERE name = ?", name)
        rows = self._db.rows(f"SELECT key, {RUN_COLUMNS} FROM runs WHERE name = ?", name)
        if not summaries or not rows:
            return None
        return RunDetail(
            summary=self._run_summary(summaries[0]),
            row=decode_run(rows[0]),
            events=tuple(self.events(rows[0][0])),
        )

    def counts(self, run: int) -> list[TaskCount]:
        """Return how many actions the run has of each task, kind and phase, with their seconds."""
        found = self._db.rows(
            "SELECT t.name, c.kind, c.phase, sum(c.count), sum(c.seconds) FROM ("
            "SELECT task, kind, phase, count, seconds FROM tallies WHERE run = :run UNION ALL "
            "SELECT task, kind, phase, count(*), total(ended - started) "
            f"FROM actions WHERE run = :run AND seq >= {_COUNTED} GROUP BY task, kind, phase"
            ") AS c JOIN tasks AS t ON t.id = c.task "
            "GROUP BY t.name, c.kind, c.phase HAVING sum(c.count) "
            "ORDER BY t.name, c.kind, c.phase",
            run=run,
        )
        return [
            TaskCount(task=task, kind=KINDS[kind], phase=PHASES[phase], actions=n, seconds=seconds)
            for task, kind, phase, n, seconds in found
        ]

    def events(self, run: int) -> list[EventView]:
        """Return the notices about the run and its actions, oldest first."""
        return self._events("run = ?", run)

    def environments(self, run: int) -> list[EventView]:
        """Return what was told of the environments of a run's images, oldest first."""
        return self._events("run = ? AND kind = 'environment'", run)

    def next_moment(self, run: int) -> float | None:
        """Return when the first durable sleep ends that the run waits for, None if for none."""
        ((moment,),) = self._db.rows(
            "SELECT min(wake_at) FROM actions INDEXED BY open_actions "
            "WHERE run = ? AND ended IS NULL",
            run,
        )
        return None if moment is None else float(moment)

    # --- actions ---

    def tree(self, run: int, *, limit: int | None = None) -> Iterator[ActionSummary]:
        """Yield the run's actions by ``seq``; each parent comes before its children."""
        after, left = 0, limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self._summaries("AND a.seq > ? ORDER BY a.seq LIMIT ?", run, after, size)
            yield from page
            if len(page) < size:
                return
            after = page[-1].seq
            left = None if left is None else left - size

    def children(self, run: int, parent: int, limit: int, after: int = 0) -> list[ActionSummary]:
        """Return up to ``limit`` children of an action, by ``seq``.

        Args:
            run: Key of the run.
            parent: ``seq`` of the parent; 0 for the root itself.
            limit: At most so many.
            after: Only those with a larger ``seq``: that of the last one of the page before.
        """
        blocks = {each.block for each in self._tallies(run, parent)}
        found: list[ActionSummary] = []
        for block in sorted(block for block in blocks if block >= after // BLOCK):
            found += self._members(run, parent, block, limit - len(found), "AND a.seq > ?", after)
            if len(found) == limit:
                break
        return found

    def groups(self, run: int, parent: int) -> list[ChildGroup]:
        """Return the children of an action, counted by display group, or by task if they have none.

        In the order in which they were first recorded.
        """
        groups: dict[str, dict[Phase, int]] = {}
        for each in self._tallies(run, parent):
            counts = groups.setdefault(each.group, {})
            phase = PHASES[each.phase]
            counts[phase] = counts.get(phase, 0) + each.actions
        return [ChildGroup(name=name, counts=counts) for name, counts in groups.items()]

    def members(self, run: int, parent: int, group: str, limit: int) -> list[ActionSummary]:
        """Return up to ``limit`` children of a group: those that did not simply succeed go first.

        Args:
            run: Key of the run.
            parent: ``seq`` of the parent.
            group: Name of the group: see :meth:`groups`.
            limit: At most so many.
        """
        tallies = [each for each in self._tallies(run, parent) if each.group == group]
        found: list[ActionSummary] = []
        for simply in (False, True):
            blocks = {t.block for t in tallies if (t.phase in _SIMPLY) == simply}
            for block in sorted(blocks):
                if len(found) < limit:
                    tail = f"AND (a.phase IN {_SIMPLY}) = ? AND {_GROUP} = ?"
                    rest = limit - len(found)
                    found += self._members(run, parent, block, rest, tail, simply, group)
        return found

    def unfinished(self, run: int) -> list[ActionSummary]:
        """Return the actions that are recorded without an outcome, by ``seq``."""
        found = self._db.rows(
            f"SELECT {_SUMMARY} FROM actions AS a INDEXED BY open_actions "
            "JOIN tasks AS t ON t.id = a.task WHERE a.run = ? AND a.ended IS NULL ORDER BY a.seq",
            run,
        )
        return [_summary(row) for row in found]

    def last_news(self, run: int) -> float | None:
        """Return when something was last recorded of the run, None if nothing ever was."""
        ((at,),) = self._db.rows(
            "SELECT max(max(created, ifnull(started, 0), ifnull(ended, 0))) FROM "
            "(SELECT * FROM actions WHERE run = ? ORDER BY seq DESC LIMIT ?)",
            run,
            PAGE,
        ) or [(None,)]
        return None if at is None else float(at)

    def failures(self, run: int, limit: int) -> list[FailedAction]:
        """Return the first ``limit`` actions that failed, by their end, with tracebacks."""
        found = self._db.rows(
            f"SELECT {_SUMMARY}, a.failure {_ACTIONS} AND a.failure IS NOT NULL "
            "ORDER BY a.ended, a.seq LIMIT ?",
            run,
            limit,
        )
        return [
            FailedAction(summary=_summary(row[:-1]), failure=decode_failure(row[-1]))
            for row in found
        ]

    def action(self, run: int, reference: str) -> ActionDetail | None:
        """Return an action, or None if there is no such.

        Args:
            run: Key of the run.
            reference: ``#12`` for the action at ``seq`` 12, or the first characters of its id in
                hex, four at least.

        Raises:
            ActionNotFoundError: The reference is malformed, or fits several actions.
        """
        seq = self._seq(run, reference)
        found = self._db.rows(
            f"SELECT {_SUMMARY}, t.code, a.inputs, a.value, a.failure, a.value_blobs, a.blobs, "
            f"a.worker, a.log, a.origin, a.cache {_ACTIONS} AND a.seq = ?",
            run,
            seq,
        )
        if not found:
            return None
        summary, rest = found[0][:-10], found[0][-10:]
        code, inputs, value, failure, value_blobs, blobs, worker, log, origin, cache = rest
        return ActionDetail(
            summary=_summary(summary),
            code=code,
            inputs=inputs,
            outcome=_outcome(value, failure, value_blobs),
            blobs=decode_digests(blobs),
            worker=worker,
            log=decode_spans(log),
            attempts=tuple(self.attempts(run, seq)),
            events=tuple(self._events("run = ? AND seq = ?", run, seq)),
            origin=decode_origin(origin),
            cache=decode_note(cache),
        )

    def records(self, run: int) -> Iterator[ActionRecord]:
        """Yield what every action of the run was asked and what came out, by ``seq``."""
        after = 0
        while True:
            page = self._db.rows(
                "SELECT a.seq, a.parent, a.id, t.name, a.phase, a.inputs, a.value, a.failure, "
                f"a.created, a.ended {_ACTIONS} AND a.seq > ? ORDER BY a.seq LIMIT ?",
                run,
                after,
                PAGE,
            )
            yield from map(_record, page)
            if len(page) < PAGE:
                return
            after = page[-1][0]

    def attempts(self, run: int, seq: int) -> list[AttemptView]:
        """Return the attempts that did not end the action, by number."""
        found = self._db.rows(
            "SELECT number, started, ended, worker, log, failure FROM attempts "
            "WHERE run = ? AND seq = ? ORDER BY number",
            run,
            seq,
        )
        return [
            AttemptView(
                number=number,
                started=started,
                ended=ended,
                worker=worker,
                log=decode_spans(log),
                failure=decode_failure(failure),
            )
            for number, started, ended, worker, log, failure in found
        ]

    def log_spans(self, run: int, seq: int) -> list[WorkerSpan]:
        """Return where the action's output is, that of earlier attempts first."""
        found = self._db.rows(
            "SELECT worker, log FROM (SELECT number, worker, log FROM attempts "
            "WHERE run = ? AND seq = ? UNION ALL "
            "SELECT 1 << 62, worker, log FROM actions WHERE run = ? AND seq = ?) ORDER BY number",
            *(run, seq) * 2,
        )
        return [
            WorkerSpan(worker, span.start, span.end)
            for worker, log in found
            for span in decode_spans(log)
        ]

    # --- helpers ---

    def _run_summary(self, columns: tuple[Any, ...]) -> RunSummary:
        summary = _run_summary(columns)
        if summary.phase.final or not self.conditions.waits(summary.key):
            return summary
        return msgspec.structs.replace(summary, waits=True)

    def _seq(self, run: int, reference: str) -> int:
        if reference.startswith("#") and reference[1:].isascii() and reference[1:].isdigit():
            return min(int(reference[1:]), 1 << 62)
        prefix = reference.upper()
        if not SHORTEST_PREFIX <= len(prefix) <= ID_DIGITS or prefix.strip("0123456789ABCDEF"):
            raise ActionNotFoundError(
                f"{reference!r} names no action",
                hint="use its number, such as #12, or at least four characters of its id",
            )
        found = self._db.rows(
            "SELECT seq FROM actions WHERE run = ? AND id BETWEEN ? AND ? LIMIT 2",
            run,
            bytes.fromhex(prefix.ljust(ID_DIGITS, "0")),
            bytes.fromhex(prefix.ljust(ID_DIGITS, "F")),
        )
        if len(found) > 1:
            raise ActionNotFoundError(
                f"{reference!r} is the beginning of several actions' ids",
                hint="give more characters of the id, or its number, such as #12",
            )
        return int(found[0][0]) if found else 0

    def _tallies(self, run: int, parent: int) -> list["_Tally"]:
        """Return what is counted of the children of an action, by block."""
        found = self._db.rows(
            f"SELECT a.block, {_GROUP}, a.phase, sum(a.count) FROM ("
            "SELECT block, task, label, phase, count, first FROM tallies "
            "WHERE run = :run AND parent = :parent UNION ALL "
            f"SELECT seq / {BLOCK}, task, label, phase, count(*), min(seq) FROM actions "
            f"WHERE run = :run AND parent = :parent AND seq >= {_COUNTED} AND seq > :parent "
            "GROUP BY 1, 2, 3, 4"
            ") AS a JOIN tasks AS t ON t.id = a.task "
            "GROUP BY 1, 2, 3 HAVING sum(a.count) ORDER BY a.block, min(a.first)",
            run=run,
            parent=parent,
        )
        return [_Tally(*row) for row in found]

    def _members(
        self, run: int, parent: int, block: int, limit: int, tail: str, *parameters: object
    ) -> list[ActionSummary]:
        """Return children of an action that are in one block."""
        start = block * BLOCK
        where = f"AND a.seq >= ? AND a.seq < ? AND a.parent = ? {tail} ORDER BY a.seq LIMIT ?"
        return self._summaries(where, run, start, start + BLOCK, parent, *parameters, limit)

    def _summaries(self, tail: str, run: int, *parameters: object) -> list[ActionSummary]:
        query = f"SELECT {_SUMMARY} {_ACTIONS} {tail}"
        return [_summary(row) for row in self._db.rows(query, run, *parameters)]

    def _events(self, where: str, *parameters: object) -> list[EventView]:
        query = f"SELECT seq, at, kind, text FROM events WHERE {where} ORDER BY key"
        return [
            EventView(seq=seq, at=at, kind=kind, text=text)
            for seq, at, kind, text in self._db.rows(query, *parameters)
        ]


def _run_summary(columns: tuple[Any, ...]) -> RunSummary:
    key, name, task, phase, owner, epoch, created, ended, error, parent, cwd, python = columns[:12]
    actions, cached = columns[12:]
    return RunSummary(
        key=key,
        name=name,
        task=task,
        phase=PHASES[phase],
        owner=owner,
        epoch=epoch,
        created=created,
        ended=ended,
        error=error or "",
        parent=parent,
        cwd=cwd,
        python=python,
        actions=actions or 0,
        cached=bool(cached),
    )


def _summary(columns: tuple[Any, ...]) -> ActionSummary:
    seq, parent, id_, task, kind, phase, created, started, ended, attempts, losses = columns[:11]
    group, wake_at, error = columns[11:]
    return ActionSummary(
        seq=seq,
        parent=parent,
        id=id_.hex(),
        task=task,
        kind=KINDS[kind],
        phase=PHASES[phase],
        created=created,
        started=started,
        ended=ended,
        attempts=attempts,
        losses=losses,
        group=group,
        wake_at=wake_at,
        error=error or "",
    )


def _record(columns: tuple[Any, ...]) -> ActionRecord:
    seq, parent, id_, task, phase, inputs, value, failure, created, ended = columns
    return ActionRecord(
        seq=seq,
        parent=parent,
        id=id_,
        task=task,
        phase=PHASES[phase],
        inputs=inputs,
        value=value,
        failure=None if failure is None else decode_failure(failure),
        created=created,
        ended=ended,
    )


def _outcome(value: bytes | None, failure: bytes | None, blobs: bytes | None) -> Outcome | None:
    if value is None and failure is None:
        return None
    decoded: Failure | None = None if failure is None else decode_failure(failure)
    return Outcome(value, decoded, decode_digests(blobs))
