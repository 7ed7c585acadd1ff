import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # harness, and tasks that workers can import

import harness


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    made = harness.Pool(tmp_path_factory.mktemp("workers"))
    yield made
    made.close()


@pytest.fixture
def controller(pool):
    made = harness.Controller(pool)
    yield made
    made.close()
