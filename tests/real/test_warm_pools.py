"""Workers that are started up, replaced and let go, as processes."""

import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import _embedded, errors
from perdure._core.machine import MAX_CRASHED_STARTS
from perdure._embedded import Runtime
from perdure.config import Config
from real.processes import until, workers
from real.programs import warm

SECONDS = 60.0


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where hooks leave marks."""
    return tmp_path_factory.mktemp("marks") / "marks"


@pytest.fixture(scope="module")
def runtime(marks: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime whose workers know where to leave marks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("MARKS", str(marks))
        runtime = _embedded.runtime(Config())
        yield runtime
        runtime.shutdown()


def marked(marks: Path, name: str) -> list[int]:
    """Return the processes in which the hook of that name was called."""
    lines = [line.rsplit(" ", 1) for line in marks.read_text().splitlines()]
    return [int(pid) for what, pid in lines if what == name]


def result(task: Any, *args: Any) -> Any:
    return perdure.run(task, *args).result(timeout=SECONDS)


def test_a_thousand_calls_pay_for_the_start_up_once_per_replica(
    runtime: Runtime, marks: Path
) -> None:
    seen = result(warm.thousand, 1000)
    assert len(seen) == 1000
    assert all(home == pid for home, pid in seen)
    assert len({pid for _, pid in seen}) <= 2
    started = marked(marks, "load")
    assert len(started) == len(set(started))


def test_idle_workers_go_until_there_is_none(runtime: Runtime) -> None:
    state, pid = result(warm.started_by_a_coroutine)
    assert state == pid
    until(lambda: pid not in {w.pid for w in workers(os.getpid())}, SECONDS)
    assert result(warm.started_by_a_coroutine) != (pid, pid)


def test_an_environment_that_nobody_uses_has_no_workers(runtime: Runtime) -> None:
    result(warm.predict, 3)
    assert all(pool.reuse.environment != "unused" for pool in _pools(runtime))


def _pools(runtime: Runtime) -> list[Any]:
    return list(runtime.controller.machine.scheduler.staff.pools.values())


def test_async_tasks_find_the_state_too(runtime: Runtime) -> None:
    home, pid = result(warm.predict_async, 1)
    assert home == pid


def test_an_async_hook_is_called_on_the_loop_that_tasks_run_on(runtime: Runtime) -> None:
    assert result(warm.same_loop) is True


def test_what_a_hook_does_to_the_process_is_put_back(runtime: Runtime) -> None:
    assert result(warm.folder) == str(Path.cwd())


@pytest.mark.parametrize("task", [warm.by_name, warm.by_name_async])
def test_a_hook_may_put_things_into_the_state_by_name(runtime: Runtime, task: Any) -> None:
    assert len(set(result(task))) == 1


def test_people_are_told_of_the_start_up(runtime: Runtime) -> None:
    run = perdure.run(warm.predict.override(env_vars={"FRESH": "1"}), 1)
    assert run.result(timeout=SECONDS)
    events = runtime.views.events(runtime.load(run.name).key)
    assert [e.kind for e in events] == ["startup"]
    assert "environment model was started up" in events[0].text


def test_the_exception_of_a_hook_is_that_of_the_calls_that_wait(
    runtime: Runtime, marks: Path
) -> None:
    with pytest.raises(warm.NoModelError, match="there is no model in the shop") as told:
        result(warm.never, 1)
    assert "in cannot_load" in "".join(traceback.format_exception(told.value))
    assert len(marked(marks, "cannot load")) == MAX_CRASHED_STARTS


def test_a_hook_that_ends_the_process_is_not_tried_for_ever(runtime: Runtime, marks: Path) -> None:
    with pytest.raises(errors.WorkerLostError, match="exited with code 7"):
        result(warm.never_either, 1)
    assert len(marked(marks, "dies")) == MAX_CRASHED_STARTS


def test_a_hook_that_hangs_is_ended_at_its_limit(runtime: Runtime, marks: Path) -> None:
    with pytest.raises(errors.TaskTimeoutError, match="start-up hook took longer") as told:
        result(warm.never_ready)
    assert told.value.limit == "on_start"
    assert "in hangs" in "".join(traceback.format_exception(told.value))
    pids = marked(marks, "hangs")
    assert len(pids) == MAX_CRASHED_STARTS
    until(lambda: not set(pids) & {each.pid for each in workers(os.getpid())}, SECONDS)


def test_without_a_hook_there_is_no_state(runtime: Runtime) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"no ctx\(\)\.state") as told:
        result(warm.without_state)
    assert "on_start" in told.value.hint


def test_isolated_attempts_have_a_process_each(runtime: Runtime) -> None:
    pids = result(warm.one_after_the_other, "alone", 4)
    assert len(set(pids)) == 4


def test_a_worker_is_replaced_after_so_many_attempts(runtime: Runtime) -> None:
    pids = result(warm.one_after_the_other, "brief", 7)
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_a_worker_that_has_grown_too_large_is_replaced(runtime: Runtime) -> None:
    first, second, third, fourth = result(warm.growing, [1, 300, 1, 1])
    assert first == second
    assert second != third
    assert third == fourth


def test_runs_do_not_share_workers_if_they_are_not_to(runtime: Runtime) -> None:
    assert result(warm.own) != result(warm.own)
    until(lambda: not any(pool.run is not None for pool in _pools(runtime)), SECONDS)


def test_a_hook_in_a_function_is_sent_by_value(runtime: Runtime) -> None:
    env = perdure.TaskEnvironment("closure")
    weight = 7

    @env.on_start
    def load() -> int:
        return weight

    @env.task
    def scaled(x: int) -> int:
        ctx = perdure.ctx()
        assert ctx is not None
        return x * ctx.state  # type: ignore[no-any-return]

    assert result(scaled, 6) == 42
