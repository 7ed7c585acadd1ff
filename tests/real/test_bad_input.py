"""Whatever is wrong with what people write ends in words, at once, and harms nobody else.

Every case goes through the real thing: worker processes and a journal on disk. After all of them
the journal must be whole, which the last test of this module looks at.
"""

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import errors
from perdure._embedded import Runtime
from real.processes import until
from real.programs import hostile as h
from real.programs import scripts

SECONDS = 60  # a hang is the worst outcome


def outcome(task: Any, *args: Any, **kwargs: Any) -> Any:
    return perdure.run(task, *args, **kwargs).result(timeout=SECONDS)


def fails(task: Any, *args: Any, **kwargs: Any) -> errors.PerdureError:
    """Return the error, having checked that it says what to do."""
    with pytest.raises(errors.PerdureError) as caught:
        outcome(task, *args, **kwargs)
    assert caught.value.hint, f"no hint: {caught.value}"
    return caught.value


def says_where(error: errors.PerdureError, task: str) -> None:
    assert error.run
    assert error.action
    assert error.task == task


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        (("x",), {}, r"hostile\.twice, parameter x: expected int, got str \('x'\)"),
        ((1.5,), {}, "expected int, got float"),
        ((None,), {}, "expected int"),
        ((), {}, "missing a required argument: 'x'"),
        ((1, 2), {}, "too many positional arguments"),
        ((1,), {"y": 1}, "unexpected keyword argument 'y'"),
    ],
)
def test_wrong_arguments_are_told_before_anything_starts(
    runtime: Runtime, args: tuple[Any, ...], kwargs: dict[str, Any], told: str
) -> None:
    with pytest.raises(errors.TypeCheckError, match=told):
        perdure.run(h.twice, *args, **kwargs)
    assert perdure.runs(task="hostile.twice") == []


@pytest.mark.parametrize("how", ["type", "unknown", "missing"])
def test_wrong_arguments_of_a_call_are_told_with_their_place(runtime: Runtime, how: str) -> None:
    error = fails(h.calls_wrongly, how)
    assert isinstance(error, errors.TypeCheckError)
    assert "hostile.twice" in error.message
    says_where(error, "hostile.calls_wrongly")


@pytest.mark.parametrize("task", [h.not_a_task, h.twice.function, "twice", None, perdure.run])
def test_what_is_no_task_is_refused(runtime: Runtime, task: Any) -> None:
    error = fails(task, 1)
    assert isinstance(error, errors.ConfigurationError)
    assert "@env.task" in error.hint


def test_values_at_the_edge_arrive(runtime: Runtime) -> None:
    assert outcome(h.is_nan, float("nan")) is True
    for value in (
        float("inf"),
        -float("inf"),
        2**70,
        10**5000,
        "\udcff",
        "\0",
        b"",
        {1: 2, "1": 3},
    ):
        assert outcome(h.identity, value) == value
    cycle = outcome(h.returns_cycle)
    assert cycle[0] is cycle
    huge = os.urandom(1 << 20) * 64
    assert outcome(h.identity, huge) == huge


# --- values that cannot travel --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "told", "advice"),
    [
        (h.returns_lock, r"_thread\.lock at inner\[0\]", "inside the task"),
        (h.returns_generator, "generator", "a list of its items"),
        (h.returns_coroutine, "coroutine", "inside the task"),
    ],
)
def test_a_result_that_cannot_be_stored_is_named(
    runtime: Runtime, task: Any, told: str, advice: str
) -> None:
    error = fails(task)
    assert isinstance(error, errors.SerializationError)
    with pytest.raises(errors.SerializationError, match=told):
        raise error
    assert advice in error.hint
    says_where(error, task.name)


def test_a_wrong_result_is_told_with_its_place(runtime: Runtime) -> None:
    error = fails(h.returns_text)
    assert "hostile.returns_text, result: expected int, got str" in error.message
    says_where(error, "hostile.returns_text")


def test_a_value_nested_too_deeply_is_an_error_and_no_crash(runtime: Runtime) -> None:
    error = fails(h.returns_deep, 100_000)
    assert "nested too deeply" in error.message


def test_an_argument_that_cannot_be_stored_is_named(runtime: Runtime) -> None:
    assert "_thread.lock" in fails(h.identity, threading.Lock()).message
    error = fails(h.passes_lock)
    assert "_thread.lock at value" in error.message
    says_where(error, "hostile.identity")


def test_what_a_closure_captures_is_named(runtime: Runtime) -> None:
    guard = threading.Lock()
    with pytest.raises(errors.SerializationError, match=r"captured guard.*cannot be encoded"):
        perdure.run(h.identity, lambda: guard)


def test_a_task_that_captures_what_cannot_travel_is_refused(runtime: Runtime) -> None:
    guard = threading.Lock()

    @h.env.task
    def local() -> bool:
        return guard.locked()

    assert "_thread.lock" in fails(local).message


def test_a_future_of_another_run_is_refused(runtime: Runtime) -> None:
    error = fails(h.identity, [h.twice.submit(2)])
    assert isinstance(error, errors.ConfigurationError)
    assert "belongs to another run" in error.message


def test_nobody_waits_for_a_call_whose_run_has_ended(runtime: Runtime, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert outcome(h.leaves_a_thread_that_waits, tmp_path / "gate", mark) == 1
    until(lambda: mark.exists() and mark.read_text())
    assert "the action that made this call has ended" in mark.read_text()


# --- errors of an odd make ------------------------------------------------------------------------


@pytest.mark.parametrize("task", [h.throw, h.throw_async])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("needs_two", h.NeedsTwoError),
        ("mute", h.MuteError),
        ("unreducible", h.UnreducibleError),
        ("loaded", h.LoadedError),
        ("once", h.RefusesToBeRebuiltError),
        ("huge", h.HugeError),
        ("group", ExceptionGroup),
        ("local", Exception),
        ("chained", h.ChainedError),
    ],
)
def test_p11_an_exception_of_an_odd_make_keeps_its_class(
    runtime: Runtime, task: Any, kind: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        outcome(task, kind)


@pytest.mark.parametrize("task", [h.throw, h.throw_async])
@pytest.mark.parametrize("kind", ["exit", "interrupt", "generator_exit", "cancelled"])
def test_what_would_end_a_program_ends_only_its_task(
    runtime: Runtime, task: Any, kind: str
) -> None:
    error = fails(task, kind)
    assert isinstance(error, errors.RemoteError)
    assert type(h.make(kind)).__name__ in error.message
    assert isinstance(error.__cause__, type(h.make(kind)))
    says_where(error, task.name)


def test_a_parent_catches_what_its_child_raised(runtime: Runtime) -> None:
    assert outcome(h.catch, "exit") == "SystemExit"
    assert outcome(h.catch, "loaded") == "LoadedError"


# --- calls ----------------------------------------------------------------------------------------


def test_a_blocking_call_on_the_event_loop_names_the_way_out(runtime: Runtime) -> None:
    error = fails(h.blocks_the_loop)
    assert isinstance(error, errors.SyncTaskCallInAsyncContextError)
    assert "await twice.aio(" in error.hint


def test_a_run_inside_an_action_is_refused(runtime: Runtime) -> None:
    error = fails(h.runs_inside)
    assert isinstance(error, errors.ConfigurationError)
    assert "inside an action" in error.message


def test_recursion_without_end_ends(runtime: Runtime) -> None:
    assert isinstance(fails(h.recurses, 0), errors.NestingTooDeepError)
    with pytest.raises(RecursionError) as caught:
        outcome(h.recurses_in_python, 0)
    assert len(str(caught.value.__cause__).splitlines()) < 50
    assert "Previous line repeated" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("resources", "shortage"),
    [
        (perdure.Resources(cpu=100_000), "cpu=100000 was asked for, the largest node has"),
        (perdure.Resources(gpu=64), "gpu=64 was asked for, the largest node has 0"),
        (perdure.Resources(memory="900Ti"), "memory=921,600.00 GiB was asked for"),
    ],
)
def test_a_request_larger_than_the_machine_names_the_shortage(
    runtime: Runtime, resources: perdure.Resources, shortage: str
) -> None:
    error = fails(h.twice.override(resources=resources), 1)
    assert isinstance(error, errors.InfeasibleError)
    assert shortage in error.message
    says_where(error, "hostile.twice")


def test_a_parent_may_do_something_about_a_shortage(runtime: Runtime) -> None:
    assert "cpu=100000 was asked for" in outcome(h.calls_infeasible)


@pytest.mark.parametrize(
    "option",
    [
        {"plugin_config": {"a": 1}},
    ],
)
def test_options_to_come_are_refused_by_name(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(errors.NotSupportedError, match=name):
        perdure.TaskEnvironment("e", **option)
    with pytest.raises(errors.NotSupportedError, match=name):
        h.env.task(**option)
    with pytest.raises(errors.NotSupportedError, match=name):
        h.twice.override(**option)


def test_a_generator_is_no_task() -> None:
    with pytest.raises(errors.ConfigurationError, match="is a generator"):
        h.env.task(h.items)


def test_two_tasks_of_one_name_are_refused() -> None:
    env = perdure.TaskEnvironment("twins")
    env.task(h.not_a_task)
    with pytest.raises(errors.ConfigurationError, match=r"two tasks twins\.not_a_task"):
        env.task(short_name="not_a_task")(h.make)
    env.task(h.not_a_task)  # a notebook cell that is run again


def test_an_environment_may_have_an_odd_name(runtime: Runtime) -> None:
    run = perdure.run(h.named_oddly, 1)
    assert run.result(timeout=SECONDS) == 2
    assert perdure.get_run(run.name).phase == "succeeded"
    assert "/" not in run.name


# --- bad neighbours -------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [h.closes_stdout, h.closes_descriptors, h.replaces_stdout])
def test_closing_stdout_is_not_for_the_next_task(runtime: Runtime, task: Any) -> None:
    outcome(task)
    run = perdure.run(h.says, "still heard")
    assert run.result(timeout=SECONDS) == "still heard"
    assert list(run.logs()) == ["still heard"]


def test_a_change_of_folder_is_not_for_the_next_task(runtime: Runtime, tmp_path: Path) -> None:
    assert outcome(h.changes_folder, "/") == "/"
    assert outcome(h.where) == str(Path.cwd())
    outcome(h.removes_own_folder, tmp_path / "gone")
    assert outcome(h.where) == str(Path.cwd())


def test_threads_left_running_are_no_hindrance(runtime: Runtime) -> None:
    assert outcome(h.leaves_threads) == 3
    assert outcome(h.leaves_a_thread_that_holds_on) == 1
    assert outcome(h.twice, 4) == 8


def test_a_fork_does_not_answer_for_its_task(runtime: Runtime) -> None:
    assert outcome(h.forks) == 1
    assert outcome(h.forks_and_returns_twice) > 0, "the child's 0 was taken for the result"
    assert outcome(h.forks_and_calls) == 1
    assert outcome(h.leaves_a_process) > 0
    assert outcome(h.twice, 4) == 8


@pytest.mark.parametrize("task", [h.exits_at_once, h.exits_at_once_async])
def test_a_task_that_ends_its_process_is_told_so(runtime: Runtime, task: Any) -> None:
    error = fails(task, 0)
    assert isinstance(error, errors.WorkerLostError)
    assert "exited with code 0" in error.message
    says_where(error, task.name)


def test_bytes_that_are_no_text_are_logged(runtime: Runtime) -> None:
    run = perdure.run(h.prints_bytes)
    assert run.result(timeout=SECONDS) == 1
    assert len(list(run.logs())) == 2


def test_stopping_the_loop_of_a_worker_does_not_stop_it(runtime: Runtime) -> None:
    assert outcome(h.stops_the_loop) == 1
    assert outcome(h.stops_the_loop) == 1


# --- from outside ---------------------------------------------------------------------------------


class Outside:
    """Scripts and commands in processes of their own, under one home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"

    def __call__(self, *command: str, code: int) -> str:
        environ = os.environ | {"PERDURE_HOME": str(self.home), "PERDURE_DURABILITY": "process"}
        done = subprocess.run(
            [sys.executable, *command], cwd=self.folder, env=environ, text=True,
            capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr + done.stdout

    def cli(self, *arguments: str, code: int) -> str:
        """Run a command; whatever it says, it shows no code of ours."""
        said = self("-m", "perdure", *arguments, code=code)
        assert "src/perdure" not in said, said
        return said


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    folder = tmp_path_factory.mktemp("outside")
    for name, text in vars(scripts).items():
        if name.isupper():
            (folder / f"{name.lower()}.py").write_text(text)
    return Outside(folder)


def test_a_task_below_the_main_guard_is_told_to_move(outside: Outside) -> None:
    said = outside("guarded.py", code=1)
    assert "inner is defined under `if __name__" in said
    assert "move it above" in said
    assert "defines no task" in outside.cli("run", "guarded.py", code=2)


def test_a_module_that_raises_in_workers_shows_its_line_once(outside: Outside) -> None:
    assert "RuntimeError: only in workers" in outside("raises_in_workers.py", code=1)
    said = outside.cli("run", "raises_in_workers.py", code=1)
    assert said.count('raise RuntimeError("only in workers")') == 1
    assert "perdure resume one-" in said


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["run", "syntax.py"], 1, "SyntaxError: '(' was never closed"),
        (["run", "exits_when_loaded.py"], 2, 'if __name__ == "__main__":'),
        (["run", "same_name.py"], 2, "two tasks twins.one"),
        (["run", "empty.py"], 2, "defines no task"),
        (["run", "nothing.py"], 2, "there is no file 'nothing.py'"),
        (["run", "no.such.module"], 2, "neither a file nor a module"),
        (["run", "tasks.py", "plain"], 2, "has no task 'plain'"),
        (["run", "tasks.py", "one"], 2, "Missing option '--x'"),
        (["run", "tasks.py", "one", "--x", "abc"], 2, "'abc' is not a whole number"),
        (["run", "tasks.py", "one", "--y", "1"], 2, "No such option '--y'"),
        (["run", "tasks.py", "one", "--x", "1", "--name", ""], 2, "cannot be the name of a run"),
        (["run", "tasks.py", "one", "--x", "1", "--engine", "ray"], 2, "not supported yet"),
        (["run", "tasks.py", "exits", "--code", "0"], 1, "SystemExit: 0"),
        (["run", "tasks.py", "interrupted"], 1, "KeyboardInterrupt"),
        (["run", "tasks.py", "vanishes"], 1, "exited with code 0"),
        (["run", "tasks.py", "unpicklable"], 1, "_thread.lock at inner"),
        (["run", "tasks.py", "enormous"], 1, "lower resources="),
        (["run", "tasks.py", "endless"], 1, "RecursionError"),
        (["run", "tasks.py", "mute"], 1, "its __str__ failed"),
        (["show", "nix"], 3, "there is no run 'nix'"),
        (["resume", "nix"], 3, "there is no run 'nix'"),
        (["rerun", "nix"], 3, "there is no run 'nix'"),
        (["abort", "nix"], 3, "there is no run 'nix'"),
        (["logs", "nix"], 3, "there is no run 'nix'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_cannot_work_says_why(
    outside: Outside, arguments: list[str], code: int, told: str
) -> None:
    said = outside.cli(*arguments, code=code)
    assert told in said, said
    assert len(said.splitlines()) < 40


def test_a_script_whose_task_exits_does_not_end_well_by_accident(outside: Outside) -> None:
    said = outside("tasks.py", "exits", "0", code=1)
    assert "RemoteError: the task ended with SystemExit(0)" in said


def test_after_all_this_the_journals_are_whole(runtime: Runtime, outside: Outside) -> None:
    assert outcome(h.twice, 21) == 42
    for home in (runtime.config.home, outside.home):
        with closing(sqlite3.connect(home / "journal.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert "result" in outside.cli("run", "tasks.py", "one", "--x", "1", code=0)
