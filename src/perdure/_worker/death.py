"""How a worker ends when it has nobody to work for.

A worker must never outlive its controller: it would go on executing an attempt that another
controller has long given to another worker. Three nets, from the usual to the unusual:

1. The executor sees the end of the controller's socket and calls :func:`die`.
2. The forkserver sees the end of the user's process and kills the worker's process group.
3. The kernel kills the worker when the forkserver dies (Linux).
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die() -> NoReturn:
    """End this process and everything in its process group, at once and without clean-up."""
    if os.getpgrp() == os.getpid():
        # Only of a group of our own: a worker that runs in somebody else's must not take it along.
        os.killpg(0, signal.SIGKILL)
    os._exit(128 + signal.SIGKILL)


def _load_prctl() -> Callable[[int, int], int] | None:
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None


# Looked up once, in the forkserver: costs its workers nothing.
_prctl = _load_prctl()


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when ``parent``, which forked it, dies (Linux only)."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            die()
