"""Queues of all controllers that share a journal: their limits, and who has what of them."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec

from perdure._core.sharing import Ask, Grant, QueueLimits, Stake, Starts, divide

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

_encode = msgspec.msgpack.Encoder().encode
decode_limits = msgspec.msgpack.Decoder(QueueLimits).decode
decode_stake = msgspec.msgpack.Decoder(Stake).decode
_decode_log = msgspec.msgpack.Decoder(Starts).decode


class SqliteQueues:
    """The :class:`~perdure._ports.Queues` port on a SQLite journal.

    Args:
        transaction: Opens a transaction that writes.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def declare(self, limits: Sequence[QueueLimits], at: float) -> list[QueueLimits | None]:
        """Let these limits hold from now on; return those that held before."""
        with self._transaction() as db:
            before = [_limits(db, each.name) for each in limits]
            for each, known in zip(limits, before, strict=True):
                if known != each:
                    db.execute(
                        "INSERT INTO queues (name, limits, declared, log) VALUES (?, ?, ?, ?) "
                        "ON CONFLICT (name) DO UPDATE "
                        "SET limits = excluded.limits, declared = excluded.declared",
                        (each.name, _encode(each), at, _encode(())),
                    )
            return before

    def remove(self, name: str) -> bool:
        """Forget a queue; return whether there was one."""
        with self._transaction() as db:
            db.execute("DELETE FROM stakes WHERE queue = ?", (name,))
            return db.execute("DELETE FROM queues WHERE name = ?", (name,)).rowcount > 0

    def known(self, names: Sequence[str]) -> dict[str, QueueLimits]:
        """Return the limits of those of the queues that there are."""
        with self._transaction() as db:
            found = {name: _limits(db, name) for name in names}
        return {name: limits for name, limits in found.items() if limits is not None}

    def stakes(self, name: str) -> list[Stake]:
        """Return what controllers have of a queue, those that are gone included."""
        with self._transaction() as db:
            return _stakes(db, name)

    def share(
        self, owner: str, asks: Sequence[Ask], now: float, is_alive: Callable[[str], bool]
    ) -> list[Grant]:
        """Give a controller its parts of queues, in one transaction."""
        with self._transaction() as db:
            return [_share(db, owner, ask, now, is_alive) for ask in asks]


def _limits(db: sqlite3.Connection, name: str) -> QueueLimits | None:
    found = db.execute("SELECT limits FROM queues WHERE name = ?", (name,)).fetchone()
    return None if found is None else decode_limits(found[0])


def _stakes(db: sqlite3.Connection, queue: str) -> list[Stake]:
    rows = db.execute("SELECT stake FROM stakes WHERE queue = ? ORDER BY owner", (queue,))
    return [decode_stake(row[0]) for row in rows]


def _share(
    db: sqlite3.Connection, owner: str, ask: Ask, now: float, is_alive: Callable[[str], bool]
) -> Grant:
    found = db.execute("SELECT limits, log FROM queues WHERE name = ?", (ask.queue,)).fetchone()
    if found is None:
        return Grant(ask.queue)
    limits, log = decode_limits(found[0]), _decode_log(found[1])
    stakes = _stakes(db, ask.queue)
    gone = [each for each in stakes if each.owner != owner and not is_alive(each.owner)]
    living = [each for each in stakes if each not in gone]
    divided = divide(limits, log, living, owner, ask, now, gone)
    for each in gone:
        _forget(db, ask.queue, each.owner)
    if divided.log != log:
        db.execute("UPDATE queues SET log = ? WHERE name = ?", (_encode(divided.log), ask.queue))
    if divided.stake is None:
        _forget(db, ask.queue, owner)
    elif divided.stake not in stakes:
        db.execute(
            "REPLACE INTO stakes (queue, owner, stake) VALUES (?, ?, ?)",
            (ask.queue, owner, _encode(divided.stake)),
        )
    return divided.grant


def _forget(db: sqlite3.Connection, queue: str, owner: str) -> None:
    db.execute("DELETE FROM stakes WHERE queue = ? AND owner = ?", (queue, owner))
