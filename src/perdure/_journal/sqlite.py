"""The journal of real runs: one SQLite database in write-ahead mode.

A commit is one transaction and one fsync, whatever number of rows it carries. Rows go in as a few
many-row statements rather than one statement per row: each statement gives up the interpreter lock
once and then competes with the controller's loop to get it back.

Two controllers may write to one journal, each driving its own runs: transactions are short and take
turns. What keeps them off each other's runs is the lease epoch, checked inside each transaction.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeGuard, assert_never

from perdure._core.artifacts import ArtifactRow, Publication, Publisher, Wanted
from perdure._core.model import Phase
from perdure._journal import artifacts, cache
from perdure._journal.codes import FINAL_NUMBERS, PHASE_NUMBERS, RUIN
from perdure._journal.faults import StorageErrors
from perdure._journal.lineage import LINEAGE_COLUMNS, links
from perdure._journal.lookup import LookupTables, last_seq
from perdure._journal.queues import SqliteQueues
from perdure._journal.rows import (
    ACTION_COLUMNS,
    ATTEMPT_COLUMNS,
    EVENT_COLUMNS,
    PLAIN_COLUMNS,
    RUN_COLUMNS,
    Columns,
    decode_action,
    decode_run,
    encode_action,
    encode_attempt,
    encode_event,
    encode_outcome,
    encode_plain,
    encode_run,
    is_plain,
)
from perdure._journal.schema import identity, open_journal
from perdure._journal.statements import insert, marks
from perdure._journal.tallies import BLOCK, Moves, count_blocks
from perdure._ports import (
    ActionRow,
    AttemptRow,
    CacheAnswer,
    CacheQuery,
    CacheRow,
    ClaimEnd,
    EventRow,
    Page,
    Row,
    RunEnd,
    RunRow,
)
from perdure.config import Durability
from perdure.errors import (
    LeaseLostError,
    RunConflictError,
    RunInUseError,
    RunNotFoundError,
    StorageError,
)

LAST_SEQ = 1 << 62

_LONE = (
    f"INSERT INTO actions ({PLAIN_COLUMNS}) SELECT {marks(PLAIN_COLUMNS.split(','))} "
    "WHERE EXISTS (SELECT 1 FROM runs WHERE key = ? AND epoch = ?)"
)
"""A new plain row, unless its run is driven under another epoch."""


class SqliteJournal:
    """The :class:`~perdure._ports.Journal` port on a SQLite file.

    Args:
        path: The database; it and the folders above it are created if missing.
        durability: ``"full"``: commits survive power loss; ``"process"``: the death of any process.

    Attributes:
        queues: The queues of all who share it.

    Raises:
        JournalCorruptError: The file is damaged or no database.
        JournalVersionError: A newer release wrote it.
        StorageError: It is some other program's database, or the folder cannot be written.
    """

    def __init__(self, path: Path, durability: Durability = "full") -> None:
        self._path = path
        self._pid = os.getpid()
        self._db = open_journal(path, durability)
        self._identity = identity(path)
        self._errors = StorageErrors(path, self._db)
        self._lookup = LookupTables(self._db)
        self._tasks: dict[tuple[str, bytes], int] = {}
        self.queues = SqliteQueues(self._transaction)

    def create_run(self, row: RunRow) -> int:
        """Store a new run and return its key."""
        values = encode_run(row)
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM runs WHERE name = ?", (row.name,)).fetchone():
                raise RunConflictError("a run of this name exists", run=row.name)
            key = db.execute(
                f"INSERT INTO runs ({RUN_COLUMNS}) VALUES ({marks(values)})", values
            ).lastrowid
        assert key is not None  # it is the row just inserted
        return key

    def load_run(self, name: str) -> RunRow | None:
        """Return the run, or None."""
        with self._guarded() as db:
            found = db.execute(
                f"SELECT key, {RUN_COLUMNS} FROM runs WHERE name = ?", (name,)
            ).fetchone()
        return None if found is None else decode_run(found)

    def acquire(self, run: int, owner: str, is_alive: Callable[[str], bool]) -> int:
        """Take the run's lease and return the new epoch."""
        with self._transaction() as db:
            found = db.execute(
                "SELECT name, owner, epoch FROM runs WHERE key = ? AND phase <> ?", (run, RUIN)
            ).fetchone()
            if found is None:
                raise RunNotFoundError(f"the journal has no run with key {run}")
            name, holder, epoch = found
            if holder not in ("", owner) and is_alive(holder):
                raise RunInUseError(
                    f"the controller {holder} drives this run",
                    run=name,
                    hint="wait for it to finish, or end that process and resume the run",
                )
            db.execute(
                "UPDATE runs SET owner = ?, epoch = ? WHERE key = ?", (owner, epoch + 1, run)
            )
        return int(epoch) + 1

    def release(self, run: int, epoch: int) -> None:
        """Give the lease back, unless the epoch is stale."""
        with self._transaction() as db:
            db.execute("UPDATE runs SET owner = '' WHERE key = ? AND epoch = ?", (run, epoch))
        self.forget(run)

    def forget(self, run: int) -> None:
        """Drop the table of the run's ids."""
        with self._guarded():
            self._lookup.drop(run)

    def relax(self) -> None:
        """Free the pages that are kept in memory."""
        with self._guarded() as db:
            db.execute("PRAGMA shrink_memory")

    def commit(self, rows: Sequence[Row], epochs: dict[int, int]) -> frozenset[int]:
        """Write the rows of runs whose epoch is current, in one transaction; return the others."""
        if len(rows) == 1 and len(epochs) == 1 and self._is_lone(rows[0], epochs):
            return self._commit_alone(rows[0], epochs[rows[0].run])
        with self._transaction() as db:
            counted = {}
            for run in epochs.keys() | {row.run for row in rows}:
                epoch, places = _state(db, run)
                if epoch == epochs.get(run, -1):
                    counted[run] = places
            self._write(db, rows, counted)
        return frozenset(epochs.keys() | {row.run for row in rows}) - counted.keys()

    def _is_lone(self, row: Row, epochs: dict[int, int]) -> TypeGuard[ActionRow]:
        return (
            type(row) is ActionRow
            and row.run in epochs
            and row.fresh
            and row.seq % BLOCK != 0  # the commit that completes a block counts it
            and is_plain(row)
            and (row.task, row.code) in self._tasks
        )

    def _commit_alone(self, row: ActionRow, epoch: int) -> frozenset[int]:
        """Commit one new row by one statement: half the time of a transaction around it.

        This is what a parent waits for that calls one child after the other.
        """
        with self._guarded() as db:
            self._refuse_if_moved()
            values = encode_plain(row, self._tasks[row.task, row.code])
            written = db.execute(_LONE, (*values, row.run, epoch)).rowcount
        return frozenset() if written else frozenset((row.run,))

    def lookup(self, run: int, ids: Sequence[bytes]) -> dict[bytes, ActionRow]:
        """Return those of the actions that have a row."""
        with self._guarded():
            found = map(decode_action, self._lookup.find(run, ids))
            return {row.id: row for row in found}

    def last_seq(self, run: int) -> int:
        """Return the largest ``seq`` of the run, 0 if it has no rows."""
        with self._guarded() as db:
            return last_seq(db, run)

    def children(self, run: int, parent: int) -> Iterator[tuple[bytes, str, int]]:
        """Yield ``(id, task, seq)`` of the finished children of the action at ``parent``."""
        # Block by block, so that a caller who stops half way leaves no open read behind: it would
        # keep the write-ahead log from being reset. Blocks without children are left out.
        with self._guarded() as db:
            _, counted = _state(db, run)
            blocks = db.execute(
                "SELECT DISTINCT block FROM tallies WHERE run = ? AND parent = ?", (run, parent)
            ).fetchall()
        places = [(block * BLOCK, (block + 1) * BLOCK) for (block,) in blocks]
        for start, end in [*places, (counted, LAST_SEQ)]:
            with self._guarded() as db:
                page = db.execute(
                    "SELECT a.id, t.name, a.seq FROM actions AS a JOIN tasks AS t ON t.id = a.task "
                    "WHERE a.run = ? AND a.seq >= ? AND a.seq < ? AND a.parent = ? "
                    f"AND a.phase IN {FINAL_NUMBERS} ORDER BY a.seq",
                    (run, start, end, parent),
                ).fetchall()
            yield from page

    def recorded(self, run: int, parent: int, after: int) -> Page:
        """Return the next recorded children of the one at ``parent``, of those after a place."""
        with self._guarded() as db:
            return self._lookup.page(run, parent, after, _state(db, run)[1])

    # --- artifacts ---

    def publish(
        self, publication: Publication, publisher: Publisher | None, at: float
    ) -> ArtifactRow:
        """Store a published value, and return the version that it is."""
        with self._transaction() as db:
            if publisher is not None and _state(db, publisher.run)[0] != publisher.epoch:
                raise LeaseLostError("another controller drives the run", run=publisher.run_name)
            return artifacts.publish(_query(db), publication, publisher, at)

    def find_artifact(self, wanted: Wanted) -> ArtifactRow | None:
        """Return the version of an artifact that is asked for, or None."""
        with self._guarded() as db:
            return artifacts.find(_query(db), wanted)

    def tag(self, row: ArtifactRow, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
        """Let tags point to a version, and take others from it."""
        with self._transaction() as db:
            artifacts.tag(_query(db), row, add)
            artifacts.untag(_query(db), row, remove)

    # --- kept values ---

    def cached(
        self, queries: Sequence[CacheQuery], is_alive: Callable[[str], bool]
    ) -> list[CacheAnswer]:
        """Return what is kept under keys; claim those under which nothing is, where asked to."""
        if not any(query.claim for query in queries):
            with self._guarded() as db:
                return [cache.find(db, query) for query in queries]
        with self._transaction() as db:
            return [
                cache.find_or_claim(db, query, query.claim, is_alive)
                if query.claim
                else cache.find(db, query)
                for query in queries
            ]

    def clear_cache(self, task: str | None = None, before: float | None = None) -> int:
        """Forget kept values; return how many there were."""
        with self._transaction() as db:
            return cache.clear(db, task, before)

    def close(self) -> None:
        """Release the file."""
        if os.getpid() == self._pid:
            self._db.close()

    def is_in_place(self) -> bool:
        """Whether the file that is open is still the one that others find at the path."""
        return self._identity is not None and identity(self._path) == self._identity

    # --- transactions ---

    def _refuse_if_moved(self) -> None:
        # SQLite would go on writing to a file that no longer has a name.
        if not self.is_in_place():
            raise StorageError(
                f"the journal {self._path} was removed or replaced while it was in use",
                hint="put it back and resume the run; without it, what it recorded is lost and "
                "the run has to be started anew",
            )

    def _guarded(self) -> StorageErrors[sqlite3.Connection]:
        if os.getpid() != self._pid:
            raise StorageError(
                f"the journal {self._path} was opened by process {self._pid} and cannot be used in "
                "a fork of it",
                hint="open it anew in the child process",
            )
        return self._errors

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guarded() as db:
            self._refuse_if_moved()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                self._tasks.clear()  # some may have been numbered in this very transaction
                with suppress(sqlite3.Error):  # the error on its way up tells more
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                raise

    def _write(self, db: sqlite3.Connection, rows: Sequence[Row], counted: dict[int, int]) -> None:
        """Write table by table: only rows of the same table depend on each other's order.

        Args:
            db: The journal, in a transaction.
            rows: What to write; rows of runs that are not in ``counted`` are left out.
            counted: See :func:`~perdure._journal.tallies.count_blocks`, by run.
        """
        newest = dict(counted)
        plain: list[Columns] = []
        inserts: list[Columns] = []
        replacements: dict[tuple[int, int], Columns] = {}
        lineage: list[Columns] = []
        attempts: list[Columns] = []
        events: list[Columns] = []
        ends: list[RunEnd] = []
        kept: list[CacheRow | ClaimEnd] = []
        for row in rows:
            if row.run not in counted:
                continue
            match row:
                case ActionRow():
                    task = self._tasks.get((row.task, row.code)) or self._intern(row.task, row.code)
                    lineage += links(row) if row.blobs else ()
                    if not row.fresh:
                        replacements[row.run, row.seq] = encode_action(row, task)
                        continue
                    if is_plain(row):
                        plain.append(encode_plain(row, task))
                    else:
                        inserts.append(encode_action(row, task))
                    newest[row.run] = row.seq
                case AttemptRow():
                    attempts.append(encode_attempt(row))
                case EventRow():
                    events.append(encode_event(row))
                case RunEnd():
                    ends.append(row)
                case CacheRow() | ClaimEnd():
                    kept.append(row)
                case _:
                    assert_never(row)
        insert(db, f"INSERT INTO actions ({PLAIN_COLUMNS})", plain)
        insert(db, f"INSERT INTO actions ({ACTION_COLUMNS})", inserts)
        moves = Moves(db, counted)
        moves.replace(replacements)
        insert(db, f"REPLACE INTO actions ({ACTION_COLUMNS})", [*replacements.values()])
        insert(db, f"INSERT OR IGNORE INTO lineage ({LINEAGE_COLUMNS})", lineage)
        insert(db, f"REPLACE INTO attempts ({ATTEMPT_COLUMNS})", attempts)
        insert(db, f"INSERT INTO events ({EVENT_COLUMNS})", events)
        cache.write(db, kept)
        for end in ends:
            _end(db, end, moves)
        moves.write()
        for run, seq in newest.items():
            count_blocks(db, run, counted[run], seq)

    def _intern(self, name: str, code: bytes) -> int:
        self._db.execute("INSERT OR IGNORE INTO tasks (name, code) VALUES (?, ?)", (name, code))
        (task,) = self._db.execute(
            "SELECT id FROM tasks WHERE name = ? AND code = ?", (name, code)
        ).fetchone()
        self._tasks[name, code] = task
        return int(task)


def _end(db: sqlite3.Connection, row: RunEnd, moves: Moves) -> None:
    outcome, error = encode_outcome(row.outcome)
    db.execute(
        "UPDATE runs SET phase = ?, ended = ?, error = ?, outcome = ? WHERE key = ?",
        (PHASE_NUMBERS[row.phase], row.at if row.phase.final else None, error, outcome, row.run),
    )
    if row.phase.final and _state(db, row.run)[0] > 1:
        aborted = PHASE_NUMBERS[Phase.ABORTED]
        moves.end_open(row.run, aborted, row.at)
        db.execute(
            "UPDATE actions INDEXED BY open_actions SET phase = ?, ended = ? "
            "WHERE run = ? AND ended IS NULL",
            (aborted, row.at, row.run),
        )


def _state(db: sqlite3.Connection, run: int) -> tuple[int, int]:
    """Return the run's epoch and how far its actions are counted; epoch 0 if there is no run."""
    found = db.execute("SELECT epoch, counted FROM runs WHERE key = ?", (run,)).fetchone()
    return found or (0, 0)


def _query(db: sqlite3.Connection) -> artifacts.Query:
    return lambda statement, *parameters: db.execute(statement, parameters).fetchall()
