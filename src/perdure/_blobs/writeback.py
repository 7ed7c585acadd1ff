"""Beginning to write a file to disk while it is still being filled.

``fsync`` after the last byte of a large file leaves the disk idle while the page cache is filled,
then the processor idle while the disk works. Where the system can be asked to begin early, both
work at once, and little is left to wait for.
"""

import functools
import sys
from collections.abc import Callable

_SYNC_FILE_RANGE_WRITE = 2


def begin_writeback(descriptor: int, offset: int, length: int) -> None:
    """Ask for a range of a file to be written to disk, without waiting for it.

    A hint, and on Linux only: nothing is durable before ``fsync``, which reports errors, too.
    """
    if call := _sync_file_range():
        call(descriptor, offset, length, _SYNC_FILE_RANGE_WRITE)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call
