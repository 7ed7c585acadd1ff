"""Where a file or folder is going to be kept: it depends on who makes it."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from perdure._api.scope import current
from perdure._ports import Blobs

_scratch: dict[int, Path] = {}  # by process: a child that was forked has one of its own


def blobs() -> Blobs:
    """Return the blobs of the run this code is part of, or of this process outside of any."""
    scope = current()
    if scope is not None:
        return scope.blobs
    from perdure.client import link

    return link.blobs()


def scratch(name: str) -> Path:
    """Return a path of that name in a new folder, which goes when the attempt ends.

    Outside of any run it goes when the process ends.
    """
    scope = current()
    above = _of_process() if scope is None else scope.scratch()
    return Path(tempfile.mkdtemp(dir=above)) / name


def _of_process() -> Path:
    pid = os.getpid()
    if pid not in _scratch:
        _scratch[pid] = Path(tempfile.mkdtemp(prefix="perdure-"))
        atexit.register(_remove, pid)
    return _scratch[pid]


def _remove(pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(_scratch.pop(pid), ignore_errors=True)
