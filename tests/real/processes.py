"""Looking at processes, and killing them."""

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def descendants(pid: int) -> list[psutil.Process]:
    """Return all processes below ``pid``."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers(pid: int) -> list[psutil.Process]:
    """Return the worker processes of the driver ``pid``: children of its forkserver."""
    return [w for child in descendants(pid) if is_forkserver(child) for w in children(child)]


def of_home(home: Path) -> list[psutil.Process]:
    """Return all processes of this home, also those whose driver is gone."""
    return [each for each in psutil.process_iter() if _home(each) == str(home)]


def _home(process: psutil.Process) -> str:
    try:
        return process.environ().get("PERDURE_HOME", "")
    except psutil.Error:
        return ""


def is_forkserver(process: psutil.Process) -> bool:
    """Whether the process forks workers (and was not itself forked from one that does)."""
    try:
        parent = process.parent()
        named = "perdure._worker.forkserver" in " ".join(process.cmdline())
        return named and not (
            parent is not None and "perdure._worker.forkserver" in " ".join(parent.cmdline())
        )
    except psutil.Error:
        return False


def children(process: psutil.Process) -> list[psutil.Process]:
    """Return the direct children that are still alive."""
    try:
        return [child for child in process.children() if lives(child)]
    except psutil.Error:
        return []


def kill(process: psutil.Process) -> None:
    """SIGKILL, if it is still there."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)


def lives(process: psutil.Process) -> bool:
    """Return whether it is neither gone nor a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two looks
        return False


def wait_gone(processes: list[psutil.Process], seconds: float = 60.0) -> list[psutil.Process]:
    """Wait until the processes are gone; return those that are not."""
    end = time.monotonic() + seconds
    left = processes
    while left and time.monotonic() < end:
        left = [p for p in left if lives(p)]
        time.sleep(0.01)
    return left


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
