"""What takes how much."""

from pathlib import Path

import pytest
from homes import Home

from perdure._housekeeping.usage import measure
from perdure.config import Config

LARGE, SMALL = "x" * 300_000, "y" * 100_000


def test_the_parts_add_up_and_the_largest_runs_come_first(home: Home) -> None:
    home.run("small", 1, contents=[SMALL])
    home.run("large", 1, contents=[SMALL, LARGE])
    home.run("none", 1)
    home.put("nobody's")
    (home.config.home / "something").write_bytes(b"z" * 10_000)
    usage = measure(home.config, top=2)
    assert set(usage.parts) >= {"journal", "blobs", "logs", "checkpoints", "reports", "something"}
    assert usage.total == sum(usage.parts.values())
    assert usage.parts["journal"] > 0
    assert usage.parts["blobs"] >= 400_000
    assert (usage.blobs.count, usage.unreferenced.count) == (3, 1)
    assert usage.blobs.bytes >= 400_000 > usage.unreferenced.bytes > 0
    assert [each.name for each in usage.runs] == ["large", "small"]
    large, small = usage.runs
    assert large.blobs >= 400_000 > small.blobs >= 100_000
    assert large.checkpoints > 0
    assert large.reports > 0


@pytest.mark.parametrize("exists", [True, False])
def test_a_home_without_runs_takes_next_to_nothing(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "home"
    if exists:
        folder.mkdir()
    usage = measure(Config(home=folder), top=5)
    assert usage.total == 0
    assert usage.runs == []
    assert folder.exists() == exists
