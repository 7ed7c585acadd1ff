"""A home for the runs of each module, and the folder importable for the workers."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from perdure.client import link  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PERDURE_DURABILITY", "process")
        patch.setenv("PERDURE_ECHO", "0")
        yield
        if (runtime := link.running()) is not None:
            runtime.shutdown()
