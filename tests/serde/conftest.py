import importlib.util

import pytest

from perdure._blobs.memory import MemoryBlobs

# torch is large, so that the gate installs it for one Python only (tools/dev.py).
collect_ignore = [] if importlib.util.find_spec("torch") else ["test_tensors.py"]


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()
