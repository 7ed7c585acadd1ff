"""The local engine places processes, and none of them outlives what it works for."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perdure._engines.local import LocalEngine
from perdure._serde import loads
from perdure._wire.messages import PROTOCOL, Hello, Stop
from perdure.errors import StorageError


def fds():
    """Return what this process has open. What others have left may be closed at any time."""
    gc.collect()
    found = set()
    for fd in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            state = os.fstat(int(fd.name))
            found.add((fd.name, state.st_dev, state.st_ino))
    return found


def parent_of(pid):
    done = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True)
    return int(done.stdout)


def test_a_worker_says_hello_with_the_token(at_desk):
    async def scenario(desk):
        desk.request(7)
        peer = await desk.hello()
        assert peer.hello == Hello(PROTOCOL, "a secret", 7, peer.pid)
        assert os.getpgid(peer.pid) == peer.pid
        assert os.getsid(peer.pid) != os.getsid(0)

    at_desk(scenario)


def test_the_token_cannot_be_seen_from_outside(at_desk):
    async def scenario(desk):
        peer = await desk.worker()
        shown = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True)
        assert str(peer.pid) in shown.stdout
        assert "a secret" not in shown.stdout

    at_desk(scenario)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_stopped_worker_exits_with_zero(at_desk, is_async):
    async def scenario(desk):
        peer = await desk.worker(is_async=is_async)
        peer.say(Stop())
        end = await desk.exits.get()
        assert (end.worker, end.exit_code, end.signal, end.output) == (1, 0, None, "")

    at_desk(scenario)


def test_a_killed_worker_is_reported_with_its_signal(at_desk):
    async def scenario(desk):
        await desk.worker(1)
        await desk.worker(2)
        desk.engine.kill(2)
        end = await desk.exits.get()
        assert (end.worker, end.exit_code, end.signal) == (2, None, signal.SIGKILL)
        assert not end.out_of_memory

    at_desk(scenario)


def test_a_worker_can_be_killed_before_it_exists(at_desk):
    async def scenario(desk):
        desk.request(1)
        desk.engine.kill(1)
        assert (await desk.exits.get()).worker == 1

    at_desk(scenario)


def test_killing_an_unknown_worker_does_nothing(at_desk):
    async def scenario(desk):
        desk.engine.kill(99)
        peer = await desk.worker(1)
        assert peer.hello.worker == 1

    at_desk(scenario)


def test_many_workers_requested_at_once_all_arrive(at_desk):
    async def scenario(desk):
        for worker in range(1, 41):
            desk.request(worker, env_vars=(("PADDING", "x" * 10_000),))
        assert {(await desk.hello()).hello.worker for _ in range(40)} == set(range(1, 41))

    at_desk(scenario)


def test_a_worker_whose_directory_is_gone_tells_why(at_desk):
    async def scenario(desk):
        desk.request(1, cwd=str(desk.home / "nowhere"))
        end = await desk.exits.get()
        assert end.worker == 1
        assert "working directory" in end.output
        assert "Traceback" not in end.output

    at_desk(scenario)


def test_a_worker_whose_log_cannot_be_written_tells_why(at_desk):
    async def scenario(desk):
        Path(desk.engine.log_path(1)).mkdir()
        desk.request(1)
        assert "log" in (await desk.exits.get()).output

    at_desk(scenario)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_worker_dies_when_its_controller_hangs_up(at_desk, is_async):
    async def scenario(desk):
        peer = await desk.worker(is_async=is_async)
        peer.start(
            "quiet" if not is_async else "chat",
            is_async,
            **({} if not is_async else {"name": "x", "lines": 1}),
        )
        await peer.done()
        peer.hang_up()
        assert (await desk.exits.get()).signal == signal.SIGKILL

    at_desk(scenario)


def test_the_death_of_the_forkserver_ends_its_workers_and_is_survived(at_desk, wait_for_end):
    async def scenario(desk):
        peers = [await desk.worker(1), await desk.worker(2)]
        peers[0].start("with_child")
        child = loads((await peers[0].done()).value, None)
        os.kill(parent_of(peers[0].pid), signal.SIGKILL)
        ends = [await desk.exits.get(), await desk.exits.get()]
        assert {(end.worker, end.signal) for end in ends} == {(1, 9), (2, 9)}
        for pid in (peers[0].pid, peers[1].pid, child):
            wait_for_end(pid)
        again = await desk.worker(3)
        assert again.hello.worker == 3

    at_desk(scenario)


def test_a_forkserver_that_cannot_boot_is_reported_with_what_it_said(at_desk, monkeypatch):
    monkeypatch.setattr(
        "perdure._engines.launching._BOOT", "raise SystemExit('no luck {fd} {parent}')"
    )

    async def scenario(desk):
        desk.request(1)
        assert "no luck" in (await desk.exits.get()).output

    at_desk(scenario)


def test_stopping_leaves_no_process_and_no_descriptor(at_desk, wait_for_end):
    def cycle():
        pids = []

        async def scenario(desk):
            for worker in range(1, 4):
                peer = await desk.worker(worker)
                peer.start("with_child")
                pids.extend([peer.pid, loads((await peer.done()).value, None)])
            pids.append(parent_of(pids[0]))

        at_desk(scenario)
        for pid in pids:
            wait_for_end(pid)

    cycle()
    before = fds()
    cycle()
    assert not fds() - before


def test_an_engine_that_was_only_prelaunched_can_be_stopped(tmp_path, wait_for_end):
    before = fds()
    engine = LocalEngine(tmp_path)
    engine.prelaunch()
    pid = engine._here._server._process.pid
    asyncio.run(engine.stop())
    wait_for_end(pid)
    assert not fds() - before


def test_descriptors_do_not_grow_with_the_number_of_workers(at_desk):
    async def scenario(desk):
        counts = []
        forkserver = parent_of((await desk.worker(0)).pid)
        for worker in range(1, 51):
            peer = await desk.worker(worker)
            desk.engine.kill(worker)
            await desk.exits.get()
            peer.hang_up()
            await asyncio.sleep(0)
            counts.append(len(list(Path(f"/proc/{forkserver}/fd").iterdir())))
        assert len(set(counts)) == 1

    if not Path("/proc").exists():
        pytest.skip("needs /proc")
    at_desk(scenario)


def test_a_worker_inherits_nothing_from_the_forkserver_or_other_workers(at_desk):
    async def scenario(desk):
        await desk.worker(1)
        peer = await desk.worker(2)
        peer.start("surroundings", names=[])
        found = loads((await peer.done()).value, None)
        # stdio, a copy of it and of the folder, the log, the socket and what watches it, and what
        # listing them opens
        assert len(found["fds"]) <= 10

    at_desk(scenario)


def test_workers_need_not_import_what_user_code_asks_for(at_desk):
    async def scenario(desk):
        await desk.worker(1)
        peer = await desk.worker(2)
        peer.start("surroundings", names=[])
        found = loads((await peer.done()).value, None)
        assert {f"perdure._api.{name}" for name in ("environment", "durable")} <= {
            *found["modules"]
        }

    at_desk(scenario)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of this")
def test_a_worker_that_cannot_notice_anything_dies_with_the_forkserver(at_desk, wait_for_end):
    async def scenario(desk):
        peer = await desk.worker()
        peer.start("hold_the_interpreter")
        while b"held" not in desk.log():
            await asyncio.sleep(0.001)
        desk.engine._here.workers.clear()  # so that the engine does not help
        os.kill(parent_of(peer.pid), signal.SIGKILL)
        wait_for_end(peer.pid)

    at_desk(scenario)


def test_logs_that_cannot_be_made_are_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    engine = LocalEngine(tmp_path / "file" / "logs")
    with pytest.raises(StorageError, match="cannot make the folder of logs"):
        asyncio.run(engine.start("", "", print, print))


OWNER = """
import asyncio, sys
sys.path.insert(0, {here!r})
from conftest import Desk
from pathlib import Path
from perdure._serde import loads

async def main():
    async with Desk(Path({home!r})) as desk:
        pids = []
        for worker in (1, 2):
            peer = await desk.worker(worker, is_async=False)
            peer.start("with_child")
            pids += [peer.pid, loads((await peer.done()).value, None)]
        print(*pids, flush=True)
        {then}
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "then",
    [
        "import os; os.kill(os.getpid(), 9)",
        "import os; os._exit(0)",
        # A forked child holds copies of all descriptors: no end of file will ever be seen.
        "import os, signal; os.fork() or signal.pause(); os.kill(os.getpid(), 9)",
    ],
    ids=["SIGKILL", "exit", "SIGKILL with a forked child"],
)
def test_nothing_outlives_the_users_process(tmp_path, wait_for_end, then):
    source = OWNER.format(here=str(Path(__file__).parent), home=str(tmp_path), then=then)
    owner = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, process_group=0, text=True
    )
    try:
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert len(pids) == 4
        owner.wait(60)
        for pid in pids:
            wait_for_end(pid)
    finally:
        owner.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(owner.pid, signal.SIGKILL)
        owner.wait()
