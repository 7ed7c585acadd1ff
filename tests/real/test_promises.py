"""Promises that need real processes: P8 stop, P11 the original exception, P12 parallelism."""

import os
import time
from pathlib import Path

import psutil
import pytest

import perdure
from perdure import errors
from perdure._embedded import Runtime
from real.processes import wait_gone, workers
from real.programs import basics


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


# --- P8: stop means stop --------------------------------------------------------------------------


def test_p8_aborting_a_run_frees_its_workers_even_from_code_that_never_yields(
    runtime: Runtime, tmp_path: Path
) -> None:
    marks = [tmp_path / "a", tmp_path / "b"]
    run = perdure.run(basics.hang_with_children, marks=marks)
    until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    spinning = [int(mark.read_text()) for mark in marks]
    run.abort()
    with pytest.raises(errors.RunAbortedError):
        run.result(timeout=60)
    until(lambda: not any(alive(pid) for pid in spinning))
    assert perdure.run(basics.add, 1, 2).result(timeout=60) == 3


def test_p8_an_interrupted_worker_is_kept_for_other_work(runtime: Runtime, mark: Path) -> None:
    run = perdure.run(basics.sleep_long, mark=mark)
    until(lambda: mark.exists() and mark.read_text())
    run.abort()
    with pytest.raises(errors.RunAbortedError):
        run.result(timeout=60)
    assert alive(int(mark.read_text()))
    assert perdure.run(basics.add, 1, 2).result(timeout=60) == 3


def test_p8_what_a_cancelled_task_started_dies_with_it(runtime: Runtime, mark: Path) -> None:
    run = perdure.run(basics.sleep_in_a_subprocess, mark=mark)
    until(lambda: mark.exists() and mark.read_text())
    child = int(mark.read_text())
    run.abort()
    with pytest.raises(errors.RunAbortedError):
        run.result(timeout=60)
    runtime_free = perdure.run(basics.add, 1, 1)
    assert runtime_free.result(timeout=60) == 2
    if alive(child):  # the task was interrupted softly: its subprocess is its own business
        psutil.Process(child).kill()


def test_p8_children_left_behind_are_cancelled(
    runtime: Runtime, mark: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pid = int(perdure.run(basics.leaves_children_behind, mark=mark).result(timeout=60))
    until(lambda: not alive(pid))
    assert "basics.spin_for_ever" in capfd.readouterr().err


def test_p8_a_timeout_around_a_call_cancels_it(runtime: Runtime, mark: Path) -> None:
    assert perdure.run(basics.first_wins, mark=mark).result(timeout=60) == "timed out"


def test_max_runtime_stops_sync_code_that_never_yields(runtime: Runtime, mark: Path) -> None:
    with pytest.raises(errors.TaskTimeoutError, match="max_runtime"):
        perdure.run(basics.never_yields, mark=mark).result(timeout=60)
    until(lambda: not alive(int(mark.read_text())))


def test_a_deadline_ends_retries(runtime: Runtime, mark: Path) -> None:
    with pytest.raises(errors.TaskTimeoutError, match="deadline"):
        perdure.run(basics.fails_for_ever, mark=mark).result(timeout=60)
    assert len(mark.read_text()) >= 2


# --- P11: the original exception ------------------------------------------------------------------


def test_p11_a_childs_key_error_is_caught_as_key_error(runtime: Runtime) -> None:
    caught = perdure.run(basics.catch_key_error, key="b").result(timeout=60)
    assert caught == "caught b because of RemoteTraceback"


def test_p11_a_users_own_error_class_reaches_the_driver_whole(runtime: Runtime) -> None:
    with pytest.raises(basics.DiskFullError) as caught:
        perdure.run(basics.raise_own, code=28).result(timeout=60)
    assert caught.value.errno == 28
    assert caught.value.filename == "/data"
    assert "in raise_own" in str(caught.value.__cause__)


# --- P12: real parallelism ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["exit", "segfault"])
def test_p12_a_crash_is_the_failure_of_one_attempt_only(
    runtime: Runtime, mark: Path, how: str
) -> None:
    values, ended = perdure.run(basics.crash_beside_others, how, mark).result(timeout=60)
    assert values == list(range(6))
    assert {"exit": "code 1", "segfault": "SIGSEGV"}[how] in ended


@pytest.mark.parametrize("how", ["exit", "segfault"])
def test_p12_a_retry_follows_a_crash(runtime: Runtime, mark: Path, how: str) -> None:
    assert perdure.run(basics.crash_with_retry, how, mark).result(timeout=60) == "second attempt"


def test_p3_a_worker_killed_from_outside_costs_nothing(runtime: Runtime, mark: Path) -> None:
    assert perdure.run(basics.crash, "kill", mark).result(timeout=60) == "second attempt"


def test_p12_two_cpu_bound_tasks_run_in_two_processes_at_once(
    runtime: Runtime, tmp_path: Path
) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.fail("this test needs two cores")
    assert len(set(perdure.run(basics.pids_of_burners, tmp_path).result(timeout=60))) == 2


# --- calls ----------------------------------------------------------------------------------------


def test_nested_sync_parents_never_deadlock(runtime: Runtime) -> None:
    assert perdure.run(basics.fibonacci, n=7).result(timeout=60) == 13


def test_async_recursion_goes_deep(runtime: Runtime) -> None:
    assert perdure.run(basics.recurse, n=60).result(timeout=60) == 60


def test_recursion_without_end_is_a_clear_error(runtime: Runtime) -> None:
    with pytest.raises(RecursionError, match="levels deep"):
        perdure.run(basics.recurse_for_ever, n=0).result(timeout=60)


def test_a_sync_parent_maps_in_parallel(runtime: Runtime) -> None:
    assert perdure.run(basics.sync_parent, n=500).result(timeout=60) == 500 * 499


def test_retries_follow_failures_until_success(runtime: Runtime, mark: Path) -> None:
    assert perdure.run(basics.flaky, mark=mark, fails=3).result(timeout=60) == 4


def test_spent_retries_raise_the_last_error(runtime: Runtime, mark: Path) -> None:
    with pytest.raises(ConnectionError, match="failure 4"):
        perdure.run(basics.flaky, mark=mark, fails=9).result(timeout=60)


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (basics.retries_only_os_errors, ValueError),
        (basics.gives_up, errors.NonRecoverableError),
    ],
)
def test_some_errors_are_not_retried(
    runtime: Runtime, mark: Path, task: "perdure.Task", error: type[Exception]
) -> None:
    with pytest.raises(error):
        perdure.run(task, mark=mark).result(timeout=60)
    assert mark.read_text() == "x"


def test_plain_steps_work_in_async_code(runtime: Runtime, mark: Path) -> None:
    got = perdure.run(basics.steps_on_the_loop, mark=mark).result(timeout=60)
    assert got == [2, 4, True, [0, 1, 2], 1999 * 1000]
    assert mark.read_text() == "tt"


def test_prints_are_captured_per_action(runtime: Runtime) -> None:
    run = perdure.run(basics.prints, text="hello there")
    run.result(timeout=60)
    assert list(run.logs()) == ["hello there", "hello there from a subprocess"]


def test_shutting_down_ends_every_worker(runtime: Runtime) -> None:
    perdure.run(basics.add, 1, 2).result(timeout=60)
    below = workers(os.getpid())
    assert below
    runtime.shutdown()
    assert wait_gone(below) == []
