"""Tasks that use more memory than they have asked for, on real workers."""

import os
import sys
from pathlib import Path

import pytest

import perdure
from perdure._embedded import Runtime
from perdure.errors import OutOfMemoryError
from real.programs import hungry

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits are kept with /proc")


@linux
def test_one_that_takes_too_much_is_stopped_and_its_sibling_is_not(
    runtime: Runtime, mark: Path
) -> None:
    run = perdure.run(hungry.beside, mark)
    assert run.result(timeout=60) == ("96 True", "let be")


@linux
def test_what_a_task_starts_counts_too(runtime: Runtime, mark: Path) -> None:
    run = perdure.run(hungry.started, mark)
    with pytest.raises(OutOfMemoryError, match="its limit was 96 MiB") as told:
        run.result(timeout=60)
    assert told.value.peak > told.value.request == 96 << 20


@linux
def test_the_next_attempt_gets_more_and_the_journal_tells(runtime: Runtime, mark: Path) -> None:
    mark.touch()
    run = perdure.run(hungry.grow, mark)
    assert run.result(timeout=60) == 200
    assert mark.read_text() == "xx"
    root = runtime.views.action(runtime.load(run.name).key, "#1")
    assert root is not None
    (attempt,) = root.attempts
    use = attempt.failure.memory
    assert use is not None
    assert use.limit == 96 << 20 < use.peak
    assert [each.text for each in root.events] == ["attempt 1 asks for 496 MiB of memory"]


@linux
def test_of_many_in_one_worker_only_the_one_that_takes_too_much_fails(
    runtime: Runtime, mark: Path
) -> None:
    run = perdure.run(hungry.many, mark)
    assert run.result(timeout=60) == ["through", "OutOfMemoryError", "through", "through"]


def test_libraries_are_told_how_many_threads_to_start(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if (os.cpu_count() or 1) > 1:
        assert perdure.run(hungry.threads).result(timeout=60) == ["1", "2"]
