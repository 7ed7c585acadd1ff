"""Which actions made and read which blobs: an index by digest, beside the actions.

Only actions with blobs are in it. They have written a file each, or read one, so that one more row
is nothing; the many small actions do not pay for it.
"""

from perdure._core.records import ActionRow
from perdure._journal.rows import Columns

LINEAGE_COLUMNS = "blob, run, seq, role"
READ, MADE = 0, 1
"""Roles: the inputs of an action refer to a blob, or its value does."""


def links(row: ActionRow) -> list[Columns]:
    """Return the index entries of an action, in the order of ``LINEAGE_COLUMNS``."""
    made = row.outcome.blobs if row.outcome is not None else ()
    read = row.blobs[: len(row.blobs) - len(made)]  # the value's blobs come last
    return [
        (blob, row.run, row.seq, role)
        for role, blobs in ((READ, read), (MADE, made))
        for blob in blobs
    ]
