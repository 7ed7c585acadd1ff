"""Every journal there is, for what all of them promise."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.journals import MAKERS
from perdure._ports import Journal


@pytest.fixture(params=sorted(MAKERS))
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    made = MAKERS[request.param](tmp_path)
    yield made
    made.close()
