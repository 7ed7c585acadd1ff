"""What a task finds in its worker, what happens when it dies, and what it writes to the log."""

import signal
from pathlib import Path

import pytest

from perdure._logs import read_spans
from perdure._serde import loads


async def result(peer, task, is_async=False, **inputs):
    peer.start(task, is_async, **inputs)
    done = await peer.done()
    assert done.failure is None, done.failure
    return loads(done.value, None)


async def written(desk, peer, task, is_async=False, **inputs):
    peer.start(task, is_async, **inputs)
    done = await peer.done()
    assert done.failure is None, done.failure
    return read_spans(desk.engine.log_path(1), done.log).decode()


def test_a_task_finds_the_surroundings_of_the_users_process(at_desk, monkeypatch):
    monkeypatch.setenv("FROM_USER", "set after the forkserver was launched")

    async def scenario(desk):
        monkeypatch.setenv("AT_SPAWN", "later")
        monkeypatch.delenv("FROM_USER")
        peer = await desk.worker(env_vars=(("FROM_TASK", "grüße"),))
        found = await result(peer, "surroundings", names=["AT_SPAWN", "FROM_USER", "FROM_TASK"])
        assert found["env"] == {"AT_SPAWN": "later", "FROM_USER": None, "FROM_TASK": "grüße"}
        assert found["cwd"] == str(desk.home)
        assert found["argv"] == ["script.py", "--flag"]
        assert found["path"] == str(desk.home)
        assert found["group"] == peer.pid
        assert found["stdin"] == ""
        assert found["defaults"]
        assert found["collects"]

    at_desk(scenario)


def test_workers_draw_different_random_numbers(at_desk):
    async def scenario(desk):
        drawn = [
            (await result(await desk.worker(worker), "surroundings", names=[]))["random"]
            for worker in (1, 2, 3)
        ]
        assert len(set(drawn)) == 3

    at_desk(scenario)


def test_a_segfault_is_reported_and_leaves_its_stack_in_the_log(at_desk):
    async def scenario(desk):
        peer = await desk.worker()
        peer.start("segfault")
        end = await desk.exits.get()
        assert (end.exit_code, end.signal) == (None, signal.SIGSEGV)
        log = desk.log().decode()
        assert log.startswith("last words\n")
        assert "in segfault" in log

    at_desk(scenario)


@pytest.mark.parametrize("code", [0, 3])
def test_an_exit_in_the_middle_of_a_task_is_reported_with_its_code(at_desk, code):
    async def scenario(desk):
        peer = await desk.worker()
        peer.start("leave", code=code)
        end = await desk.exits.get()
        assert (end.exit_code, end.signal, end.output) == (code, None, "")

    at_desk(scenario)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGABRT])
def test_a_deadly_signal_is_reported(at_desk, number):
    async def scenario(desk):
        peer = await desk.worker()
        peer.start("by_signal", number=int(number))
        assert (await desk.exits.get()).signal == number

    at_desk(scenario)


@pytest.mark.parametrize("way", ["killed", "dead by itself"])
def test_what_a_task_started_ends_with_the_worker(at_desk, wait_for_end, way):
    async def scenario(desk):
        peer = await desk.worker()
        child = await result(peer, "with_child")
        if way == "killed":
            desk.engine.kill(1)
        else:
            peer.start("leave", code=1)
        await desk.exits.get()
        wait_for_end(child)

    at_desk(scenario)


def set_of_ignored(status: str) -> set[int]:
    """Return the signals a process ignores, from its /proc/PID/status."""
    (line,) = [line for line in status.splitlines() if line.startswith("SigIgn:")]
    mask = int(line.split()[1], 16)
    return {number + 1 for number in range(64) if mask >> number & 1}


def test_a_subprocess_of_a_task_has_default_signal_dispositions(at_desk):
    ours = set_of_ignored(Path("/proc/self/status").read_text())

    async def scenario(desk):
        status = await result(await desk.worker(), "child_signals")
        assert "SigBlk:\t0000000000000000" in status
        assert set_of_ignored(status) <= ours, "only what whoever started us ignores"

    at_desk(scenario)


def test_everything_a_sync_task_writes_is_its_own(at_desk):
    async def scenario(desk):
        peer = await desk.worker()
        assert await written(desk, peer, "say", text="before") == "before\n"
        text = await written(desk, peer, "say_in_every_way")
        assert sorted(text) == sorted("<write>printstderr\nsubprocess\nerror\nlibc\n")
        assert await written(desk, peer, "quiet") == ""
        assert await written(desk, peer, "say", text="after ü") == "after ü\n"

    at_desk(scenario)


def test_async_tasks_that_interleave_get_their_own_lines(at_desk):
    async def scenario(desk):
        peer = await desk.worker(is_async=True)
        names = {peer.start("chat", True, name=name, lines=5): name for name in ("a", "b", "c")}
        for _ in names:
            done = await peer.done()
            text = read_spans(desk.engine.log_path(1), done.log).decode()
            name = names[done.attempt]
            assert text == "".join(f"{name}{line}\n" for line in range(5))

    at_desk(scenario)


def test_a_lone_async_task_owns_what_bypasses_python(at_desk):
    async def scenario(desk):
        peer = await desk.worker(is_async=True)
        assert await written(desk, peer, "chat_below", True, name="x") == "xbytes"

    at_desk(scenario)
