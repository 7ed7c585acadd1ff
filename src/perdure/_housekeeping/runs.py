"""Choosing runs that are old, and removing them so that a crash or a rival does no harm."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from perdure import _files
from perdure._core.model import Phase, RunOptions
from perdure._housekeeping.roots import OWNED
from perdure._journal.codes import PHASES, RUIN
from perdure.config import Config, folder_name

_ROWS = 2000  # removed in one transaction: others wait for it
ASIDE = "~removed-"
"""How the names begin of folders that are about to be removed: no run's folder is called so."""

_LAST_ACTIVITY = (
    "SELECT max(max(created, ifnull(started, 0), ifnull(ended, 0))) FROM actions WHERE run = ?"
)
_EMPTY = (
    "UPDATE runs SET name = '/removed/' || key, task = '', phase = ?, owner = '', "
    "epoch = epoch + 1, ended = created, error = NULL, inputs = x'', bundle = x'', "
    "context = x'', options = x'', blobs = NULL, outcome = NULL WHERE key = ?"
)


class OldRun(NamedTuple):
    """A run that may go.

    Attributes:
        key: Its key in the journal.
        name: Its name.
        phase: Its phase; ``interrupted`` if nobody drove it to its end.
        ended: When it ended, or last did something.
        epoch: Of its lease, as it was when the run was chosen.
        origin: Name of the run that it takes results over from, or "".
    """

    key: int
    name: str
    phase: Phase
    ended: float
    epoch: int
    origin: str = ""


def choose(
    db: sqlite3.Connection, before: float, is_alive: Callable[[str], bool]
) -> tuple[list[OldRun], list[OldRun]]:
    """Return the runs that may go, and those that would, had not a kept run been rerun from them.

    Args:
        db: The journal.
        before: Those go that ended, or last did something, before that time.
        is_alive: Tells whether the controller of that name still lives.
    """
    old = {each.name: each for each in _old(db, before, is_alive)}
    origins = dict(_origins(db))
    needed: dict[str, OldRun] = {}
    ahead = [origin for name, origin in origins.items() if name not in old]
    while ahead:
        name = ahead.pop()
        if name in old:
            needed[name] = old.pop(name)
            ahead.append(origins.get(name, ""))
    chosen = [each._replace(origin=origins.get(each.name, "")) for each in old.values()]
    return chosen, list(needed.values())


def _old(
    db: sqlite3.Connection, before: float, is_alive: Callable[[str], bool]
) -> Iterator[OldRun]:
    rows = db.execute(
        "SELECT key, name, phase, owner, epoch, created, ended FROM runs "
        "WHERE phase <> ? AND created < ? ORDER BY key",
        (RUIN, before),
    ).fetchall()
    for key, name, number, owner, epoch, created, ended in rows:
        if owner and is_alive(owner):
            continue
        phase = PHASES[number]
        last = ended or created
        if not phase.final:
            phase = Phase.INTERRUPTED
            (worked,) = db.execute(_LAST_ACTIVITY, (key,)).fetchone()
            last = max(created, worked or 0.0)
        if last < before:
            yield OldRun(key, name, phase, last, epoch)


def _origins(db: sqlite3.Connection, after: int = 0) -> Iterator[tuple[str, str]]:
    """Yield runs and the run that each takes results over from, of those with a larger key."""
    query = "SELECT name, options FROM runs WHERE key > ? AND length(options) > 0"
    for name, options in db.execute(query, (after,)):
        if origin := msgspec.msgpack.decode(options, type=RunOptions).recover_from:
            yield name, origin


def remove(db: sqlite3.Connection, config: Config, run: OldRun, newest: int) -> bool:
    """Remove a run that was chosen; return whether it was still as it was then.

    Args:
        db: The journal.
        config: Where its folders are.
        run: The run.
        newest: The largest key of any run when it was chosen.
    """
    with _transaction(db):
        found = db.execute("SELECT name, epoch FROM runs WHERE key = ?", (run.key,)).fetchone()
        if found != (run.name, run.epoch):
            return False  # it goes on: somebody has taken its lease
        if any(origin == run.name for _, origin in _origins(db, after=newest)):
            return False
        aside = [_set_aside(folder, run) for folder in (config.checkpoints, config.reports)]
        db.execute(_EMPTY, (RUIN, run.key))
    for folder in aside:
        _files.remove(folder)
    return True


def _set_aside(folder: Path, run: OldRun) -> Path:
    """Give the run's folder another name: from now on its name belongs to runs to come."""
    aside = folder / f"{ASIDE}{run.key}-{run.epoch}"
    with contextlib.suppress(FileNotFoundError):
        (folder / folder_name(run.name)).rename(aside)
    return aside


def clear_ruins(db: sqlite3.Connection, config: Config) -> None:
    """Remove what is left of runs, also of those that an earlier collection was removing."""
    for folder in (config.checkpoints, config.reports):
        for aside in folder.glob(f"{ASIDE}*"):
            _files.remove(aside)
    ruins = db.execute("SELECT key FROM runs WHERE phase = ?", (RUIN,)).fetchall()
    for (key,) in ruins:
        for table in OWNED:
            _clear(db, table, key)
    db.execute("DELETE FROM runs WHERE phase = ? AND key < (SELECT max(key) FROM runs)", (RUIN,))


def _clear(db: sqlite3.Connection, table: str, run: int) -> None:
    columns = _key_columns(db, table)
    names = ", ".join(columns)
    statement = (
        f"DELETE FROM {table} WHERE ({names}) IN "
        f"(SELECT {names} FROM {table} WHERE run = ? LIMIT {_ROWS})"
    )
    while db.execute(statement, (run,)).rowcount:
        pass


def _key_columns(db: sqlite3.Connection, table: str) -> list[str]:
    columns = db.execute(f"SELECT name FROM pragma_table_info('{table}') WHERE pk ORDER BY pk")
    return [name for (name,) in columns]


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def names(db: sqlite3.Connection) -> Iterable[str]:
    """Return the names of all runs."""
    return [name for (name,) in db.execute("SELECT name FROM runs WHERE phase <> ?", (RUIN,))]
