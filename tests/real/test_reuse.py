"""Environments with a ReusePolicy, on real workers."""

from pathlib import Path

import perdure
from perdure._embedded import Runtime
from real.processes import until
from real.programs import pools


def test_attempts_run_together_in_one_worker(runtime: Runtime) -> None:
    assert perdure.run(pools.all_meet, 50).result(timeout=60) == 1


def test_no_more_than_the_concurrency_run_together(runtime: Runtime) -> None:
    assert perdure.run(pools.all_count, 120).result(timeout=60) == 50


def test_p12_of_many_in_one_worker_only_the_one_that_crashes_fails(
    runtime: Runtime, mark: Path
) -> None:
    results = perdure.run(pools.one_crashes, 20, mark).result(timeout=60)
    assert results == [*["through"] * 10, "WorkerLostError", *["through"] * 9]
    assert 21 <= len(mark.read_text()) < 120


def test_p8_one_of_many_is_cancelled_and_the_others_are_not(runtime: Runtime) -> None:
    run = perdure.run(pools.one_is_cancelled, 6)
    assert run.result(timeout=60) == ["0", "1", "2", "CancelledError", "4", "5"]


def test_one_of_many_runs_out_of_time_and_the_others_do_not(runtime: Runtime) -> None:
    run = perdure.run(pools.one_is_too_late, 6)
    assert run.result(timeout=60) == ["0", "1", "2", "TaskTimeoutError", "4", "5"]


def test_what_each_of_many_prints_is_its_own(runtime: Runtime) -> None:
    run = perdure.run(pools.one_is_cancelled, 6)
    run.wait(60)
    # What was cancelled below a run is written when it has stopped, which may be a little later.
    ends = ["aborted", *["succeeded"] * 5]
    until(lambda: sorted(each.phase for each in run.actions(task="pools.stay")) == ends)
    printed = sorted(list(run.logs(each.id)) for each in run.actions(task="pools.stay"))
    assert printed == [
        [f"{i} is here", f"{i} is still here"] + [f"{i} leaves"] * (i != 3) for i in range(6)
    ]


def test_tasks_that_call_themselves_need_no_more_workers_than_there_are(runtime: Runtime) -> None:
    assert perdure.run(pools.depth, 5).result(timeout=60) == 5
    assert perdure.run(pools.async_depth, 30).result(timeout=60) == 30
