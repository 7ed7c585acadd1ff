"""How much memory this process has for itself, to tell when it should be replaced."""

import os
import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def own_memory() -> int:
    """Return the bytes that no file could give back: files that are mapped do not count.

    Where the kernel does not tell, the most this process has ever had.
    """
    try:
        _, resident, shared, *_ = _STATM.read_text().split()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak << 10
    return (int(resident) - int(shared)) * _PAGE
