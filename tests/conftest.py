"""What every test run owes the machine it ran on: nothing it started is left."""

import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from storage.server import bucket, faults, s3_server  # noqa: F401  # fixtures for all

SECONDS = 10.0


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fail the run if processes or threads of the system outlive the tests."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    end = time.monotonic() + SECONDS
    while (left := leftovers(before)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not left, f"left behind: {left}"


def leftovers(before: set[int]) -> list[str]:
    """Describe child processes that were not there before, and threads of the runtime."""
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("perdure")]
    for child in psutil.Process().children(recursive=True):
        try:
            if child.pid not in before and child.status() != psutil.STATUS_ZOMBIE:
                left.append(" ".join(child.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return left
