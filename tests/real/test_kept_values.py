"""Values that are kept for all runs, with real workers: each task marks that it has run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import perdure
from perdure import errors
from perdure._core.model import Phase
from perdure._embedded import Runtime
from perdure.client.diffing import diff
from real.processes import until
from real.programs import kept


@pytest.fixture(autouse=True)
def empty(runtime: Runtime) -> None:
    """Let every test begin with an empty cache."""
    from perdure.client.clearing import clear_cache

    clear_cache()


def marks(mark: Path) -> int:
    return len(mark.read_text()) if mark.exists() else 0


def phases(run: perdure.Run, task: str) -> list[str]:
    return [each.phase.value for each in run.actions(task=task)]


def test_a_second_run_takes_what_the_first_one_made(mark: Path) -> None:
    first = perdure.run(kept.doubles, mark, [1, 2, 3])
    assert first.result(60) == [2, 4, 6]
    assert marks(mark) == 3
    second = perdure.run(kept.doubles, mark, [3, 2, 1, 0])
    assert second.result(60) == [6, 4, 2, 0]
    assert marks(mark) == 4
    assert sorted(phases(second, "kept.double")) == ["cached"] * 3 + ["succeeded"]


def test_a_run_of_a_kept_root_has_ended_at_once(mark: Path) -> None:
    assert perdure.run(kept.double, mark, 21).result(60) == 42
    again = perdure.run(kept.double, mark, 21)
    assert again.result(60) == 42
    assert again.phase is Phase.SUCCEEDED
    assert phases(again, "kept.double") == ["cached"]
    assert marks(mark) == 1


def test_a_future_counts_as_the_value_that_it_stands_for(mark: Path) -> None:
    assert perdure.run(kept.doubles, mark, [5, 10]).result(60) == [10, 20]
    assert perdure.run(kept.passed_on, mark, 5).result(60) == 20
    assert marks(mark) == 2


def test_p5_values_of_every_kind_are_found_again(mark: Path) -> None:
    assert perdure.run(kept.every_kind, mark).result(60) == len(kept.VALUES)
    assert marks(mark) == len(kept.VALUES)
    assert perdure.run(kept.every_kind, mark).result(60) == len(kept.VALUES)
    assert marks(mark) == len(kept.VALUES)


def test_what_a_kept_action_did_not_call_is_no_difference_between_runs(mark: Path) -> None:
    first = perdure.run(kept.quadruple, mark, 3)
    assert first.result(60) == 12
    second = perdure.run(kept.quadruple, mark, 3)
    assert second.result(60) == 12
    assert diff(first.name, second.name).first is None


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_value_whose_blob_is_gone_or_damaged_is_made_again(
    runtime: Runtime, mark: Path, harm: str
) -> None:
    size = 100_000 + len(harm)
    first = perdure.run(kept.large, mark, size)
    first.result(60)
    (blob,) = runtime.load(first.name).outcome.blobs  # type: ignore[union-attr]
    path = runtime.blobs.path(blob)
    if harm == "gone":
        path.unlink()
    else:
        path.chmod(0o600)
        flipped = bytearray(path.read_bytes())
        flipped[5000] ^= 1
        path.write_bytes(flipped)
    assert int(perdure.run(kept.large, mark, size).result(60).sum()) == size * (size - 1) // 2
    assert marks(mark) == 2
    assert phases(perdure.run(kept.large, mark, size), "kept.large") != ["failed"]


def test_failures_are_not_kept(mark: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="not now"):
            perdure.run(kept.fragile, mark, True).result(60)
    assert perdure.run(kept.fragile, mark, False).result(60) == "through"
    assert marks(mark) == 3
    assert perdure.run(kept.fragile, mark, True).result(60) == "through"


def test_a_run_may_overwrite_or_leave_the_cache_alone(mark: Path) -> None:
    perdure.run(kept.doubles, mark, [8]).result(60)
    perdure.with_runcontext(overwrite_cache=True).run(kept.doubles, mark, [8]).result(60)
    assert marks(mark) == 2
    perdure.with_runcontext(disable_run_cache=True).run(kept.doubles, mark, [8]).result(60)
    assert marks(mark) == 3
    perdure.run(kept.doubles, mark, [8]).result(60)
    assert marks(mark) == 3
    with pytest.raises(errors.ConfigurationError, match="one of them"):
        perdure.with_runcontext(overwrite_cache=True, disable_run_cache=True)


def test_what_a_task_says_goes_before_what_its_environment_says(mark: Path) -> None:
    never = kept.double.override(cache="disable")
    salted = kept.double.override(cache=perdure.Cache(salt="other", ignored_inputs="mark"))
    for task in (never, never, salted, salted, kept.double, kept.double):
        perdure.run(task, mark, 9).result(60)
    assert marks(mark) == 4


def test_of_identical_calls_at_once_one_runs(mark: Path, tmp_path: Path) -> None:
    assert perdure.run(kept.at_once, mark, tmp_path / "gate", 5).result(60) == [7] * 5
    assert marks(mark) == 1


ELSEWHERE = """
import sys
from pathlib import Path
import perdure
from real.programs import kept
if __name__ == "__main__":
    print(perdure.run(kept.gated, Path(sys.argv[1]), Path(sys.argv[2]), 7).result(60))
"""


@pytest.mark.parametrize("killed", [False, True])
def test_p3_the_value_that_another_process_makes_is_waited_for_unless_it_dies(
    mark: Path, tmp_path: Path, killed: bool
) -> None:
    gate, script = tmp_path / "gate", tmp_path / "elsewhere.py"
    script.write_text(ELSEWHERE)
    path = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    other = subprocess.Popen(
        [sys.executable, script, mark, gate],
        env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: marks(mark) == 1)
        mine = perdure.run(kept.gated, mark, gate, 7)
        if killed:
            other.send_signal(signal.SIGKILL)
            until(lambda: marks(mark) == 2)
        gate.touch()
        assert mine.result(60) == 7
        assert other.communicate(timeout=60)[0].strip() == ("" if killed else "7")
        assert marks(mark) == 1 + killed
    finally:
        other.kill()
        other.wait()
