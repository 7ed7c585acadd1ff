"""Provoking what a machine may lack: permissions, space, the sole use of a file."""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_CAPBSET_DROP = 24
_CAPABILITIES = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: why root may do everything


def obey_permissions() -> None:
    """Before an exec: let file permissions hold for root, too."""
    if os.geteuid() == 0:
        for capability in _CAPABILITIES:
            if ctypes.CDLL(None, use_errno=True).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "the capability cannot be dropped")


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Make ``folder`` run out of space; yield what processes run first, and what ends the need.

    A file system of its own where one may be mounted, otherwise a limit on the size of files.
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    limits = [size // 4]
    if sys.platform == "linux" and os.geteuid() == 0 and not subprocess.run(mount).returncode:
        try:
            grow = ["mount", "-o", "remount,size=200m", str(folder)]
            yield lambda: None, lambda: subprocess.run(grow, check=True) and None
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    else:
        yield (
            (
                lambda: (
                    (limits and resource.setrlimit(resource.RLIMIT_FSIZE, (limits[0],) * 2)) or None
                )
            ),
            limits.clear,
        )


HOLD_LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
db.execute("ROLLBACK")
"""


@contextmanager
def locked(journal: Path) -> Iterator[Callable[[], None]]:
    """Lock the journal from another process; yield what lets go of it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(journal)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"locked\n"
        try:
            yield holder.stdin.close
        finally:
            holder.stdin.close()
