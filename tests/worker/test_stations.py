"""Environments have stations: workers wait for them, and they do not wait for workers for ever."""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from perdure._engines import stations
from perdure._engines.stations import own_paths
from perdure._environments.store import Environment
from perdure._environments.uv import Stopped
from perdure._wire.messages import Stop
from perdure.errors import EnvironmentBuildError


class Source:
    """Has the environment that the test itself runs in, when it is allowed to."""

    def __init__(self, error=None, folder=Path(sys.prefix)):
        self.asked = []
        self.given = []
        self.free = threading.Event()
        self.error = error
        self.folder = folder

    def __call__(self, recipe, tell, stop):
        self.asked.append(recipe)
        tell("building")
        while not self.free.wait(0.002):
            if stop.is_set():
                raise Stopped
        if self.error:
            raise self.error
        lock = os.open(os.devnull, os.O_RDONLY)
        self.given.append(Environment(self.folder, "here", _lock=lock))
        return self.given[-1]


async def no_room(folder):
    """Have no guests."""


async def until(condition):
    while not condition():
        await asyncio.sleep(0.002)


def test_workers_wait_for_their_environment_and_others_do_not(at_desk):
    async def scenario(desk):
        source = desk.engine._environments = Source()
        desk.request(1, recipe=b"a")
        desk.request(2, recipe=b"a")
        assert (await desk.worker(3)).hello.worker == 3
        source.free.set()
        assert {(await desk.hello()).hello.worker for _ in range(2)} == {1, 2}
        assert source.asked == [b"a"]

    at_desk(scenario)


def test_an_idle_station_ends_its_forkserver_and_starts_another_when_asked(
    at_desk, monkeypatch, wait_for_end
):
    monkeypatch.setattr(stations, "IDLE_SECONDS", 0.0)

    async def scenario(desk):
        source = desk.engine._environments = Source()
        source.free.set()
        desk.engine._here.room_for = no_room
        peer = await desk.worker(1, recipe=b"a")
        forkserver = desk.engine._stations[b"a"]._server._process.pid
        peer.say(Stop())
        assert (await desk.exits.get()).exit_code == 0
        await until(lambda: source.given[0]._lock < 0)
        wait_for_end(forkserver)
        assert (await desk.worker(2, recipe=b"a")).hello.worker == 2
        assert source.asked == [b"a", b"a"]

    at_desk(scenario)


def test_guests_are_forked_where_other_workers_are(at_desk, monkeypatch, twin):
    monkeypatch.setattr(stations, "IDLE_SECONDS", 0.0)

    async def scenario(desk):
        source = desk.engine._environments = Source(folder=twin("here").folder)
        source.free.set()
        host = psutil.Process((await desk.worker(1)).pid).parent()
        guest = await desk.worker(2, recipe=b"a")
        assert psutil.Process(guest.pid).parent() == host
        host.kill()
        ends = [await desk.exits.get() for _ in range(2)]
        assert {end.worker for end in ends} == {1, 2}
        guest = await desk.worker(3, recipe=b"a")  # of the forkserver that follows
        assert desk.engine._stations[b"a"].server is None
        assert source.given[-1]._lock >= 0
        guest.say(Stop())
        assert (await desk.exits.get()).exit_code == 0
        await until(lambda: source.given[-1]._lock < 0)

    at_desk(scenario)


def test_a_worker_that_waits_can_be_killed(at_desk):
    async def scenario(desk):
        source = desk.engine._environments = Source()
        desk.request(1, recipe=b"a")
        desk.engine.kill(1)
        assert (await desk.exits.get()).signal == signal.SIGKILL
        source.free.set()
        assert (await desk.worker(2, recipe=b"a")).hello.worker == 2

    at_desk(scenario)


@pytest.mark.parametrize(
    ("error", "told"),
    [(EnvironmentBuildError("no such package"), "no such package"), (KeyError("x"), "KeyError")],
)
def test_what_cannot_be_had_is_the_end_of_those_who_wait(at_desk, error, told):
    async def scenario(desk):
        source = desk.engine._environments = Source(error)
        source.free.set()
        desk.request(1, recipe=b"a")
        assert told in (await desk.exits.get()).error.message
        desk.request(2, recipe=b"a")  # and asked for anew
        assert (await desk.exits.get()).worker == 2
        assert source.asked == [b"a", b"a"]

    at_desk(scenario)


def environment(folder, program):
    """Return an environment whose interpreter is a program of the shell; None: it has none."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "environment.json").touch()
    if program is not None:
        (folder / "bin" / "python").write_text(f"#!/bin/sh\n{program}\n")
        (folder / "bin" / "python").chmod(0o700)
    return Environment(folder, folder.name, _lock=os.open(os.devnull, os.O_RDONLY))


@pytest.mark.parametrize("program", [None, "echo broken >&2; exit 1"])
def test_an_environment_that_does_not_work_is_had_anew_once(at_desk, tmp_path, program):
    async def scenario(desk):
        given, told = [], []
        whole = Environment(Path(sys.prefix), "here", _lock=os.open(os.devnull, os.O_RDONLY))

        def source(recipe, tell, stop):
            given.append(whole if given else environment(tmp_path / "damaged", program))
            return given[-1]

        desk.engine._environments = source
        desk.engine._on_delay = lambda delay: told.append(delay.text)
        desk.request(1, recipe=b"a")
        desk.request(2, recipe=b"a")
        ends = [await desk.exits.get() for _ in range(2)]
        assert [(end.signal, end.error) for end in ends] == [(signal.SIGKILL, None)] * 2
        assert not (tmp_path / "damaged" / "environment.json").exists()
        assert "environment damaged is damaged: it is built anew" in told[0]
        assert (await desk.worker(3, recipe=b"a")).hello.worker == 3

    at_desk(scenario)


def test_an_environment_that_never_works_is_an_error(at_desk, tmp_path):
    async def scenario(desk):
        def source(recipe, tell, stop):
            return environment(tmp_path / "damaged", "echo broken >&2; exit 1")

        desk.engine._environments = source
        desk.request(1, recipe=b"a")
        assert (await desk.exits.get()).error is None
        desk.request(2, recipe=b"a")
        error = (await desk.exits.get()).error
        assert "broken" in error.message
        assert f"remove {tmp_path / 'damaged'}" in error.hint

    at_desk(scenario)


def test_stopping_waits_for_nothing(at_desk):
    async def scenario(desk):
        desk.engine._environments = Source()  # never free
        desk.request(1, recipe=b"a")

    at_desk(scenario)


def test_of_an_import_path_only_what_is_the_users_is_taken_along():
    path = (
        "/home/me/project", "", "/usr/lib/python311.zip", "/usr/lib/python3.11",
        "/usr/lib/python3.11/lib-dynload", "/venv/lib/python3.11/site-packages",
        "/usr/lib/python3/dist-packages", "/usr/lib64/python3.13t", "/home/me/python3.11",
    )  # fmt: skip
    assert own_paths(path) == ("/home/me/project", "", "/home/me/python3.11")
