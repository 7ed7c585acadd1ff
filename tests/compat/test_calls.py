"""Calls in every form, on real workers."""

import subprocess
import sys
from pathlib import Path

import calls
import pytest

import perdure
from perdure.errors import NotSupportedError

HERE = Path(__file__).parent


def run(task, *args):
    return perdure.run(task, *args).result(60)


def test_runs_are_waited_for_as_scripts_do():
    started = perdure.run(calls.inc, 1)
    assert started.wait(started) == started.wait(quiet=True) == started.wait(True) == "succeeded"
    with pytest.raises(NotSupportedError, match="wait_for"):
        started.wait(wait_for="running")


def test_async_forms_of_calling():
    assert run(calls.awaiting) == [
        1, 1, 1, [2, 3, 4], [1, 2, 3], 5, [6, 7], 0, [8], [9, 10], 11, 12, 13, 14, [1, 2, 3],
    ]  # fmt: skip


def test_coroutines_sent_to_the_loop_from_threads():
    assert run(calls.from_threads) == [1, 2, 3]


def test_giving_up_a_call_cancels_it():
    handle = perdure.run(calls.giving_up)
    assert handle.result(60) == [
        "wait_for", "timeout", "group", "cancel", "shield 2", "[KeyError('a'), 2]",
    ]  # fmt: skip
    assert {str(a.phase) for a in handle.actions(task="calls.forever")} == {"aborted"}


def test_sync_forms_of_calling():
    assert run(calls.blocking) == [
        1, 2, [1, 2, 3, 4], [6], [2, 3], [1, 2, 3, 4], [1, 2, 3, 4], [2, 2], 2, "KeyError('x')",
        [2, 0],
    ]  # fmt: skip


def test_futures_as_arguments_wherever_they_are():
    assert run(calls.passing_on) == [2, 4, 7, 4, "KeyError('bad')"]


def test_map():
    assert run(calls.mapping) == [
        [1, 2, 3, 4], [11, 22], [102, 103], [], [1, 3, 5], [1, 2, 3],
        ["KeyError('a')", "KeyError('b')"], [1, 2, 3], [1, 2, 3],
    ]  # fmt: skip


def test_map_in_async_code():
    assert run(calls.mapping_aio) == [
        [1, 2, 3], [4, 6], [1, 2, 3], ["KeyError('a')"], [2, 2], [2, 3],
    ]  # fmt: skip


def test_overrides():
    handle = perdure.run(calls.overriding)
    assert handle.result(60) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(handle.actions(task="calls.other")) == 1


def test_steps():
    assert run(calls.steps) == [
        10, [0, 1, 2], 11, 1, 2, [1, 2], "KeyError('x')", 4, True, True, True, None,
    ]  # fmt: skip


def test_steps_in_async_code():
    assert run(calls.asteps) == [2, [0, 1, 2], 11, 2, [0, 1], True, None, 0, True]


def test_custom_context_is_for_the_calls_in_its_block_and_below():
    handle = perdure.with_runcontext(custom_context={"a": "0", "z": "9"}).run(calls.contexts)
    one, both = {"a": "1", "z": "9"}, {"a": "1", "b": "2", "z": "9"}
    assert handle.result(60) == [one, both, both, {"a": "0", "z": "9"}]


def test_context_variables_of_a_task_do_not_leak_into_others():
    assert set(run(calls.marking)) == {""}


def test_tasks_wherever_they_are_defined():
    refused = "task calls.method is a method"
    assert run(calls.places) == [2, refused, 101, 101, "none", "other", True, 5, 4, 6, 11]


def test_an_async_task_that_waits_for_nothing_of_its_own_can_be_timed_out():
    with pytest.raises(perdure.errors.TaskTimeoutError):
        run(calls.forever.override(timeout=0.1))
    with pytest.raises(perdure.errors.TaskTimeoutError):
        run(calls.stuck.override(timeout=0.1))


SCRIPT = """
import sys
import perdure
env = perdure.TaskEnvironment("script")

class Mine(Exception):
    pass

@env.task
def inner(x: int) -> int:
    if x < 0:
        raise Mine(x)
    return x + 1

@env.task
async def main(x: int) -> list[int]:
    try:
        await inner.aio(-1)
    except Mine as error:
        return [await inner.aio(x), *error.args]

if __name__ == "__main__":
    print(perdure.run(main, int(sys.argv[1])).result(60))
"""


def python(*args, **options):
    done = subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=60, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    assert python(str(path), "1") == "[2, -1]"


def test_a_package_started_with_m():
    assert python("-m", "callpkg.main", "2", cwd=HERE) == "7"


def test_code_that_has_no_file():
    """As in a notebook: everything travels by value."""
    assert python("-", "1", input=SCRIPT) == "[2, -1]"
    assert python("-c", SCRIPT, "1") == "[2, -1]"
