"""Runs from Python: results, names, resuming, rerunning, stopping."""

import asyncio
import copy
import pickle
import time
import warnings
from pathlib import Path

import pytest

from perdure._core.model import Phase
from perdure._housekeeping.collector import collect
from perdure.client import attaching, link
from perdure.client.attaching import CodeChangedWarning
from perdure.client.handle import Run, get_run
from perdure.client.rerunning import rerun
from perdure.client.running import resume, run, runs, with_runcontext
from perdure.errors import (
    ConfigurationError,
    ReplayDivergedError,
    RunAbortedError,
    RunConflictError,
    RunError,
    RunInterruptedError,
    RunNotFoundError,
    TypeCheckError,
)


def stop():
    """End the runtime as a process that ends does; runs in progress become resumable."""
    link.running().shutdown()


def until_held(path):
    """Wait until ``hold`` has noted something at ``path`` and waits for its gate."""
    deadline = time.monotonic() + 60
    while not Path(f"{path}.held").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def pickled(value):
    return pickle.loads(pickle.dumps(value))


@pytest.fixture
def stopped(jobs, tmp_path):
    """A run, interrupted after its first child; its gate opens when ``gate`` is written."""
    path, gate = tmp_path / "notes", tmp_path / "gate"
    handle = with_runcontext(name="stopped").run(jobs.hold, str(path), str(gate))
    until_held(path)
    stop()
    return handle


def test_a_run_gives_result_inputs_and_outputs(jobs):
    handle = run(jobs.add, 2, b=3)
    assert handle.result(60) == 5
    assert handle.phase == handle.wait() == "succeeded"
    assert handle.inputs() == {"a": 2, "b": 3}
    assert handle.outputs() == (5,)
    assert handle.name.startswith("add-")
    assert handle.url is None
    assert repr(handle) == f"<Run '{handle.name}' of jobs.add: succeeded>"
    assert [row.task for row in handle.actions()] == ["jobs.add"]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_a_handle_can_be_copied(duplicate):
    assert duplicate(Run("here")).name == "here"


def test_the_awaitable_forms_do_the_same(jobs):
    async def main():
        handle = await run.aio(jobs.add, 1)
        return await handle.result.aio(), await handle.wait.aio(), await handle.inputs.aio()

    assert asyncio.run(main()) == (2, "succeeded", {"a": 1, "b": 1})


def test_arguments_are_checked_before_anything_starts(jobs, home):
    with pytest.raises(TypeCheckError, match=r"jobs\.add"):
        run(jobs.add, "two")
    with pytest.raises(ConfigurationError, match="takes a task"):
        run(jobs.add.function, 2)
    assert link.running() is None


def test_the_original_exception_is_raised(jobs, tmp_path):
    handle = run(jobs.fragile, str(tmp_path / "gate"))
    with pytest.raises(jobs.Broken, match="the gate is closed"):
        handle.result(60)
    assert handle.phase == "failed"


def test_a_run_that_is_over_says_so_and_raises_what_it_has_ended_with(jobs, stopped, tmp_path):
    assert stopped.done()
    with pytest.raises(RunInterruptedError):
        stopped.raise_for_status()
    handle = run(jobs.hold, str(tmp_path / "other"), str(tmp_path / "gate"))
    assert not handle.done()
    with pytest.raises(RunError, match=r"run\.wait\(\)"):
        handle.raise_for_status()
    (tmp_path / "gate").touch()
    handle.wait(60)
    assert handle.done()
    assert handle.raise_for_status() is None
    failing = run(jobs.fragile, str(tmp_path / "no gate"))
    failing.wait(60)
    with pytest.raises(jobs.Broken):
        asyncio.run(failing.raise_for_status.aio())


def test_a_run_that_is_about_to_go_on_is_not_over(jobs, tmp_path, monkeypatch):
    handle = run(jobs.fragile, str(tmp_path / "gate"))
    handle.wait()
    assert handle.done()
    monkeypatch.setattr(link.running().controller.ends, "is_awaited", {handle.name}.__contains__)
    assert not handle.done()
    with pytest.raises(RunError, match="has not ended"):
        handle.raise_for_status()


def test_the_same_name_is_the_same_run(jobs, tmp_path):
    path = tmp_path / "notes"
    for _ in range(2):
        handle = with_runcontext(name="once").run(jobs.note, str(path), "x")
        assert handle.result(60) == "x"
    assert path.read_text() == "x\n"
    stop()
    assert with_runcontext(name="once").run(jobs.note, str(path), "x").result(60) == "x"
    assert path.read_text() == "x\n"
    assert [each.name for each in runs()] == ["once"]


def test_a_name_taken_by_something_else_says_by_what(jobs):
    with_runcontext(name="taken").run(jobs.add, 1).wait()
    with pytest.raises(RunConflictError, match=r"other inputs: .*1.*not .*2"):
        with_runcontext(name="taken").run(jobs.add, 2)
    with pytest.raises(RunConflictError, match=r"jobs\.add, not jobs\.note"):
        with_runcontext(name="taken").run(jobs.note, "p", "t")


def test_an_interrupted_run_says_so_and_goes_on_under_its_name(stopped, jobs, tmp_path):
    assert stopped.phase == stopped.wait() == "interrupted"
    with pytest.raises(RunInterruptedError, match="perdure resume stopped"):
        stopped.result()
    path, gate = tmp_path / "notes", tmp_path / "gate"
    again = with_runcontext(name="stopped").run(jobs.hold, str(path), str(gate))
    with pytest.raises(TimeoutError, match="stopped"):
        again.result(0.0)
    gate.write_text("")
    assert again.result(60) == "done"
    assert path.read_text() == "noted\n"


def test_a_run_that_is_collected_before_it_goes_on_begins_anew(
    stopped, jobs, tmp_path, monkeypatch
):
    monkeypatch.setattr(attaching, "declare", lambda: collect(link.config(), 0.0))
    path, gate = tmp_path / "notes", tmp_path / "gate"
    gate.write_text("")
    again = with_runcontext(name="stopped").run(jobs.hold, str(path), str(gate))
    assert again.result(60) == "done"
    assert path.read_text() == "noted\nnoted\n"


def test_a_rerun_of_a_run_that_is_gone_says_so_and_does_not_begin_anew(jobs, home, monkeypatch):
    def gone(known, **options):
        raise RunNotFoundError("there is no run 'origin' to recover from")

    handle = with_runcontext(name="left").run(jobs.add, 1)
    handle.wait()
    known = link.get("left")
    known.phase = Phase.INTERRUPTED
    monkeypatch.setattr(attaching, "go_on", gone)
    with pytest.raises(RunNotFoundError, match="origin"):
        attaching.attach(known, known, strict=False)


def test_what_was_under_way_in_an_interrupted_run_is_not_called_running(stopped):
    phases = {each.task: each.phase for each in stopped.actions()}
    assert phases == {"jobs.hold": "interrupted", "jobs.note": "succeeded"}


def test_resume_tries_what_failed_again_and_keeps_the_rest(jobs, tmp_path):
    path, gate = tmp_path / "notes", tmp_path / "gate"
    handle = with_runcontext(name="r").run(jobs.careful, str(path), str(gate))
    with pytest.raises(jobs.Broken):
        handle.result(60)
    with pytest.raises(jobs.Broken):
        resume("r").result(60)
    gate.write_text("")
    assert resume("r").result(60) == "through"
    assert path.read_text() == "noted\n"
    assert resume("r").result(60) == "through"


def test_a_changed_function_is_named_when_its_run_goes_on(stopped, jobs, tmp_path):
    (tmp_path / "gate").write_text("")
    source = Path(jobs.__file__)
    source.write_text(source.read_text().replace('return "done"', 'return "changed"'))
    with pytest.raises(ReplayDivergedError, match="hold"):
        resume("stopped", strict=True)
    assert stopped.phase == "interrupted"
    with pytest.warns(CodeChangedWarning, match="hold"):
        assert resume("stopped").result(60) == "changed"


def test_recorded_results_of_changed_code_are_not_handed_out_without_a_word(jobs):
    first = with_runcontext(name="r").run(jobs.add, 1, b=2)
    first.wait()
    source = Path(jobs.__file__)
    source.write_text(source.read_text().replace("return a + b", "return a + b + 100"))
    with pytest.warns(CodeChangedWarning, match=r"add\. This is the result it recorded"):
        assert with_runcontext(name="r").run(jobs.add, 1, b=2).result(60) == 3
    with pytest.raises(ReplayDivergedError, match="add"):
        with_runcontext(name="r", strict=True).run(jobs.add, 1, b=2)
    with pytest.warns(CodeChangedWarning, match="taken over all the same; name tasks in force"):
        rerun("r", code="current").result(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rerun("r", recover=False, code="current").result(60) == 103
    with pytest.warns(CodeChangedWarning, match="The recorded code runs; to run what is there now"):
        assert rerun("r", recover=False).result(60) == 3


def test_unchanged_code_does_not_warn(stopped, tmp_path):
    (tmp_path / "gate").write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resume("stopped").result(60) == "done"


def test_an_aborted_run_says_so_and_can_go_on_after_all(jobs, tmp_path):
    path, gate = tmp_path / "notes", tmp_path / "gate"
    handle = with_runcontext(name="r").run(jobs.hold, str(path), str(gate))
    until_held(path)
    handle.abort()
    assert handle.wait(60) == "aborted"
    with pytest.raises(RunAbortedError, match="resume"):
        handle.result()
    gate.write_text("")
    assert resume("r").result(60) == "done"


def test_rerun_takes_recorded_inputs_and_new_ones(jobs):
    first = run(jobs.add, 1, b=2)
    first.wait()
    second = rerun(first.name)
    assert (second.result(60), second.name != first.name) == (3, True)
    third = rerun(first.name, b=40)
    assert third.result(60) == 41
    assert third.inputs() == {"a": 1, "b": 40}
    with pytest.raises(TypeCheckError, match="'c'"):
        rerun(first.name, c=1)
    with pytest.raises(TypeCheckError):
        rerun(first.name, b="x")


def test_rerun_recovers_what_succeeded_unless_forced(jobs, tmp_path):
    path, gate = tmp_path / "notes", tmp_path / "gate"
    run_ = with_runcontext(name="r").run(jobs.careful, str(path), str(gate))
    run_.wait()
    gate.write_text("")
    assert rerun("r").result(60) == "through"
    assert path.read_text() == "noted\n"
    assert rerun("r", force=["jobs.note"]).result(60) == "through"
    assert path.read_text() == "noted\n" * 2
    assert rerun("r", recover=False).result(60) == "through"
    assert path.read_text() == "noted\n" * 3


def test_unknown_names_are_answered_with_near_ones(jobs):
    with_runcontext(name="nightly").run(jobs.add, 1).wait()
    for find in (get_run, resume, rerun):
        with pytest.raises(RunNotFoundError, match="did you mean nightly"):
            find("nigthly")
    assert get_run("nightly").result() == 2


def test_runs_are_listed_newest_first_and_filtered(jobs, tmp_path):
    for name, task, arguments in [
        ("a", jobs.add, (1,)),
        ("b", jobs.fragile, (str(tmp_path / "no"),)),
        ("c", jobs.add, (2,)),
    ]:
        with_runcontext(name=name).run(task, *arguments).wait()
    assert [each.name for each in runs()] == ["c", "b", "a"]
    assert [each.name for each in runs(phase="failed")] == ["b"]
    assert [each.name for each in runs(task="jobs.add", limit=1)] == ["c"]
    with pytest.raises(ConfigurationError, match="no phase 'done'"):
        runs(phase="done")


def test_env_vars_and_custom_context_reach_the_actions(jobs):
    runner = with_runcontext(env_vars={"COLOUR": "red"}, custom_context={"team": "x"})
    assert runner.run(jobs.surroundings).result(60) == ["red", {"team": "x"}]


def test_env_vars_reach_children_too(jobs):
    runner = with_runcontext(env_vars={"COLOUR": "red"})
    assert runner.run(jobs.outer).result(60)[0] == "red"


def test_a_run_inside_an_action_is_refused(jobs):
    assert "call the task itself" in run(jobs.nested).result(60)


def test_a_durability_other_than_the_running_one_is_refused(jobs):
    with_runcontext(durability="process").run(jobs.add, 1).wait()
    with pytest.raises(ConfigurationError, match="too late"):
        with_runcontext(durability="full").run(jobs.add, 1)
