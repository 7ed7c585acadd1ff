"""Collecting blobs that nothing refers to.

What refers to a blob is in the journal, but only from the moment its row is committed: until then
all that protects a blob is that it is *fresh*: the time of access of its file is set whenever
somebody stores it, or finds it stored and is going to refer to it. (That reading may set it as well
does no harm.) So only what has not been wanted for long is collected, and that is looked at again,
under the lock, when it is about to be removed.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from perdure._blobs.hashing import BLOB_DIGEST_BYTES
from perdure._blobs.holding import held

_BATCH = 32  # removed at a time; whoever stores a blob waits for no more


class StoredBlob(NamedTuple):
    """A blob on disk: how many bytes it takes there, and when it was last wanted."""

    digest: bytes
    size: int
    wanted: float


def stored(folder: Path) -> Iterator[StoredBlob]:
    """Yield the blobs in a folder, in no order; also while others come and go."""
    for prefix in range(256):
        try:
            with os.scandir(folder / f"{prefix:02x}") as entries:
                found = [(entry.name, entry.stat()) for entry in _files_of(entries)]
        except FileNotFoundError:
            continue
        for name, status in found:
            digest = bytes((prefix,)) + bytes.fromhex(name)
            yield StoredBlob(digest, status.st_blocks * 512, status.st_atime)


def _files_of(entries: Iterable["os.DirEntry[str]"]) -> Iterator["os.DirEntry[str]"]:
    """Leave out what is not a blob, or not one any more."""
    digits = 2 * (BLOB_DIGEST_BYTES - 1)
    for entry in entries:
        if len(entry.name) == digits and not entry.name.strip("0123456789abcdef"):
            with contextlib.suppress(FileNotFoundError):
                entry.stat()
                yield entry


def discard(folder: Path, blobs: Iterable[StoredBlob], before: float) -> Iterator[StoredBlob]:
    """Remove blobs, but for those that have been wanted meanwhile; yield those that are removed.

    Args:
        folder: Where they are stored.
        blobs: That nothing refers to.
        before: Only those are removed that were last wanted before that time.
    """
    batch = []
    for blob in blobs:
        batch.append(blob)
        if len(batch) == _BATCH:
            yield from _discard(folder, batch, before)
            batch.clear()
    yield from _discard(folder, batch, before)


def _discard(folder: Path, batch: list[StoredBlob], before: float) -> list[StoredBlob]:
    removed: list[StoredBlob] = []
    if not batch:
        return removed
    with held(str(folder), fcntl.LOCK_EX):
        for blob in batch:
            name = blob.digest.hex()
            path = folder / name[:2] / name[2:]
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_atime < before:
                    path.unlink()
                    removed.append(blob)
    return removed
