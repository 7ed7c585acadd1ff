"""Large values between workers: nobody holds a copy, and who passes one on does not load it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import perdure
from perdure._embedded import Runtime
from real.programs import arrays

SIZE = 80_000_000
"""Bytes. Blobs that are smaller than 64 MiB are read once to see whether they are whole."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")


def test_an_array_is_read_in_place_by_another_task(runtime: Runtime) -> None:
    growth = perdure.run(arrays.hand_over, SIZE).result(timeout=60)
    assert growth["Anonymous"] < SIZE / 10


def test_none_of_eight_readers_of_an_array_holds_a_copy(runtime: Runtime) -> None:
    assert perdure.run(arrays.fan_out, SIZE).result(timeout=60) < SIZE / 10


@pytest.mark.parametrize("task", [arrays.pass_futures, arrays.pass_values], ids=lambda t: t.name)
def test_a_parent_that_passes_an_array_on_does_not_load_it(
    runtime: Runtime, task: "perdure.Task[[int], int]"
) -> None:
    assert perdure.run(task, SIZE).result(timeout=60) < SIZE / 10


def test_an_array_that_passes_through_many_hands_is_stored_once(runtime: Runtime) -> None:
    perdure.run(arrays.pass_futures, SIZE + 8).result(timeout=60)
    stored = [path for path in runtime.config.blobs.rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in stored].count(SIZE + 8) == 1


@pytest.mark.parametrize(("durability", "code"), [("process", 0), ("full", 1)])
def test_workers_sync_large_values_where_power_loss_counts(
    tmp_path: Path, durability: str, code: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "perdure", "run", arrays.__file__, "refuse_syncs"],
        env=os.environ | {"PERDURE_HOME": str(tmp_path), "PERDURE_DURABILITY": durability},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr
    assert ("no syncs here" in ended.stdout + ended.stderr) == bool(code)
