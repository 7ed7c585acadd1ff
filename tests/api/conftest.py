import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # harness, and tasks that workers can import

import harness


@pytest.fixture
def controller(tmp_path):
    made = harness.Controller(tmp_path)
    yield made
    made.close()
