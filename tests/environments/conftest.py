"""A folder of wheels, and a uv that looks nowhere else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from environments import wheels


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of what workers need, and of three versions of a tiny package."""
    folder = tmp_path_factory.mktemp("wheels")
    wheels.needs(folder)
    for version in ("1.0", "2.0", "3.0"):
        wheels.tiny(folder, version)
    wheels.tiny(folder, "1.0", "starter", start="import sys; sys.started_with = 'starter'")
    return folder


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What uv keeps between builds."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture(scope="module", autouse=True)
def _offline(wheelhouse: Path, uv_cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_NO_INDEX", "1")
        patch.setenv("UV_FIND_LINKS", str(wheelhouse))
        patch.setenv("UV_CACHE_DIR", str(uv_cache))
        yield
