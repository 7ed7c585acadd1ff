"""What every test run owes the machine it ran on: nothing it started is left."""

import gc
import os
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import HealthCheck, settings

from perdure import _embedded
from storage.server import bucket, faults, s3_server  # noqa: F401  # fixtures for all

SECONDS = 60.0
PYTEST = {"PYTEST_CURRENT_TEST", "PYTEST_VERSION"}
"""What pytest itself changes."""

# The gate tries the same examples every time: what it says depends on the code alone. To look for
# new ones: HYPOTHESIS_PROFILE=explore.
settings.register_profile(
    "gate", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.fixture(scope="module", autouse=True)
def garbage_is_told_where_it_was_made() -> Iterator[None]:
    """Have what a module left open reported there, and not in whichever test runs later."""
    yield
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def modules_know_nothing_of_each_other() -> Iterator[None]:
    """Fail a module that leaves a runtime, or settings for those to come."""
    before = dict(os.environ)
    yield
    left = _embedded.running()
    if left is not None:
        left.shutdown()
    changed = {key for key, _ in before.items() ^ os.environ.items()} - PYTEST
    assert left is None, f"a runtime was left running, of {left.config.home}"
    assert not changed, f"the environment is not what it was: {sorted(changed)}"


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
