"""Giving memory back to the operating system after a crowd of runs has fallen asleep.

What a run needs while it is driven is ten times what is kept of it afterwards. The journal's cache
of pages has grown meanwhile, and the C library keeps what was freed in between for later.
"""

import sys
from collections.abc import Callable

CROWD = 1000
"""So many runs have to fall asleep for it to be worth while."""


def give_back(relax: Callable[[], None]) -> None:
    """Free what is kept for speed only. To be called on the scribe's thread.

    Args:
        relax: Has the journal do so.
    """
    relax()
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries do without
        if trim is not None:
            trim(0)
