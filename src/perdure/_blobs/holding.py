"""The lock between those who keep blobs and the one who collects them.

A blob is kept by making its file new, or fresh, and collected by looking at how fresh it is and
removing it. The two must not interleave: keepers share the lock for a moment, the collector has it
for itself. It is the folder that is locked, by the kernel, so there is nothing to clean up after
those who die. Reading needs no lock: what is read is referred to.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held(folder: str, how: int) -> Iterator[None]:
    """Hold the lock of a folder of blobs inside the block.

    Args:
        folder: It must exist.
        how: ``fcntl.LOCK_SH``, or ``fcntl.LOCK_EX``.
    """
    # A descriptor for each time: one that is shared, by threads or with a fork, is locked once.
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing would not do, had somebody forked
    finally:
        os.close(descriptor)
