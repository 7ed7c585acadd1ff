"""Identity by content: how runs, actions and values get their names.

An action is known by *what it is*, not by *when it was called*: its id is the digest of its
parent, its task, the digest of its inputs and ``occurrence``, the number of times the same parent
has already asked for the same task with the same inputs. The order in which concurrent code
happens to make its calls therefore does not matter when a parent is replayed.
"""

from functools import lru_cache
from hashlib import blake2b

DIGEST_BYTES = 16
"""Length of every id and value digest: 128 bits, collision-free in practice at any scale."""

ROOT_PARENT = b"\0" * DIGEST_BYTES
"""The parent of a root action, and the seq-less ancestor of everything."""


def digest(data: bytes) -> bytes:
    """Return the 16-byte BLAKE2b digest of ``data``."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


def action_id(parent: bytes, task: str, inputs: bytes, occurrence: int) -> bytes:
    """Return the id of a child action.

    Args:
        parent: Id of the calling action (16 bytes).
        task: Full name of the task, e.g. ``flights.clean``.
        inputs: Digest of the bound inputs (16 bytes).
        occurrence: 0 for the first call of this task with these inputs by this parent, then 1, ...
    """
    return blake2b(parent + inputs + _which(occurrence, task), digest_size=DIGEST_BYTES).digest()


@lru_cache(maxsize=256)
def _which(occurrence: int, task: str) -> bytes:
    return b"%d\0%b" % (occurrence, task.encode())


def root_id(run: str) -> bytes:
    """Return the id of a run's root action; distinct runs have distinct trees of ids."""
    return digest(b"run\0" + run.encode())
