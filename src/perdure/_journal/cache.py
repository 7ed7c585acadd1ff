"""Values that are kept for all runs, by key.

A value is written in the transaction that records the outcome it is, so the one is never there
without the other. A claim says which action makes the value of a key; it is taken in the
transaction that has found none, and ends with the value, with the failure of the action, or with
the lease of its run.
"""

import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from perdure._core.model import InputMark
from perdure._core.records import CacheAnswer, CacheQuery, CacheRow, Claim, ClaimEnd
from perdure._journal.rows import Columns, decode_digests, decode_origin
from perdure._journal.statements import insert

CACHE_COLUMNS = "key, task, created, origin, facts, inputs, blobs, value"

_FIND = f"SELECT {CACHE_COLUMNS} FROM cache WHERE key = ?"
_HOLDER = (
    "SELECT runs.owner FROM claims JOIN runs ON runs.key = claims.run "
    "AND runs.epoch = claims.epoch WHERE claims.key = ?"
)
_encode = msgspec.msgpack.Encoder().encode
decode_marks = msgspec.msgpack.Decoder(dict[str, InputMark]).decode


def find(db: sqlite3.Connection, query: CacheQuery) -> CacheAnswer:
    """Return what is kept under a key, claims aside."""
    found = db.execute(_FIND, (query.key,)).fetchone()
    if found is None:
        return CacheAnswer()
    entry = decode_entry(found)
    return CacheAnswer(entry) if entry.created >= query.since else CacheAnswer(expired=True)


def find_or_claim(
    db: sqlite3.Connection, query: CacheQuery, claim: Claim, is_alive: Callable[[str], bool]
) -> CacheAnswer:
    """Return what is kept under a key; if nothing is, claim it, unless it is held.

    Args:
        db: The journal, in a transaction.
        query: The question.
        claim: Who is to make the value.
        is_alive: Tells whether the controller of that name still lives.
    """
    answer = find(db, query)
    if answer.entry is not None:
        return answer
    holder = db.execute(_HOLDER, (query.key,)).fetchone()
    if holder is not None and holder[0] and is_alive(holder[0]):
        return CacheAnswer(expired=answer.expired, held=True)
    row = (query.key, claim.run, claim.epoch, claim.number)
    db.execute("REPLACE INTO claims (key, run, epoch, number) VALUES (?, ?, ?, ?)", row)
    return answer


def write(db: sqlite3.Connection, rows: Sequence[CacheRow | ClaimEnd]) -> None:
    """Keep values, and end the claims of those who made them and of those who failed to."""
    entries = [_encode_entry(row) for row in rows if isinstance(row, CacheRow)]
    insert(db, f"REPLACE INTO cache ({CACHE_COLUMNS})", entries)
    for row in rows:
        # With its value every claim of the run to the key has ended, else the one that failed.
        number = row.number if isinstance(row, ClaimEnd) else None
        db.execute(
            "DELETE FROM claims WHERE key = :key AND run = :run "
            "AND (:number IS NULL OR number = :number)",
            {"key": row.key, "run": row.run, "number": number},
        )


def clear(db: sqlite3.Connection, task: str | None, before: float | None) -> int:
    """Forget values; return how many there were.

    Args:
        db: The journal, in a transaction.
        task: Only those of this task; ``*`` and ``?`` are wildcards.
        before: Only those made before this moment.
    """
    return db.execute(
        "DELETE FROM cache WHERE (:task IS NULL OR task GLOB :task) "
        "AND (:before IS NULL OR created < :before)",
        {"task": task, "before": before},
    ).rowcount


def _encode_entry(row: CacheRow) -> Columns:
    return (
        row.key,
        row.task,
        row.created,
        _encode(row.origin),
        row.facts,
        _encode(row.inputs),
        _encode(row.blobs) if row.blobs else None,
        row.value,
    )


def decode_entry(columns: Columns) -> CacheRow:
    """Return the row of ``CACHE_COLUMNS``; the key of its run is not kept."""
    key, task, created, origin, facts, inputs, blobs, value = columns
    made = decode_origin(origin)
    assert made is not None  # the column is never empty
    return CacheRow(
        run=0,
        key=key,
        task=task,
        created=created,
        origin=made,
        facts=facts,
        inputs=decode_marks(inputs),
        value=value,
        blobs=decode_digests(blobs),
    )
