"""A real runtime per module: workers are processes, the journal is a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure import _embedded
from perdure._embedded import Runtime
from perdure.config import Config


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """The runtime of this process, with a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_HOME", str(tmp_path_factory.mktemp("home")))
        runtime = _embedded.runtime(Config())
        yield runtime
        runtime.shutdown()


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file in which tasks leave marks."""
    return tmp_path / "marks"
