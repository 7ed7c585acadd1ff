"""Many rows in few statements.

Each statement gives up the interpreter lock once and then competes with the controller's loop to
get it back; so rows go in by the dozen.
"""

import sqlite3
from collections.abc import Sized
from functools import lru_cache
from itertools import chain

from perdure._journal.rows import Columns

MAX_ROWS = 64
"""In one statement; times 22 columns it is well under SQLite's 32,766 parameters."""


def marks(columns: Sized) -> str:
    """Return the placeholders of one row's columns."""
    return ", ".join("?" * len(columns))


def insert(db: sqlite3.Connection, head: str, rows: list[Columns], tail: str = "") -> None:
    """Write the rows in statements of 64, 32, ... 1 rows each: few, and all of them cached.

    Args:
        db: The journal, in a transaction.
        head: The statement up to ``VALUES``.
        rows: Columns of each row.
        tail: What follows the values.
    """
    done = 0
    while done < len(rows):
        count = min(MAX_ROWS, 1 << (len(rows) - done).bit_length() - 1)
        statement = _statement(head, marks(rows[0]), count, tail)
        db.execute(statement, [*chain.from_iterable(rows[done : done + count])])
        done += count


@lru_cache
def _statement(head: str, row: str, count: int, tail: str) -> str:
    return f"{head} VALUES {', '.join([f'({row})'] * count)} {tail}"
