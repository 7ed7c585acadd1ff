import importlib.util

import pytest

from perdure._blobs.memory import MemoryBlobs

# torch is large: the gate has it on one Python, and where pip need not fetch it (tools/dev.py).
collect_ignore = [] if importlib.util.find_spec("torch") else ["test_tensors.py"]


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()
