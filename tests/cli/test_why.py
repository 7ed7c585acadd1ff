"""``perdure why`` and ``perdure top``, as users start them, beside runs of other processes."""

import contextlib
import os
import signal
import time

import msgspec
import pytest

from perdure._controller import presence
from perdure._core.overview import Overview
from perdure.client import link
from perdure.client import why as asking
from perdure.client.survey import Surveyor
from perdure.client.why import as_dict, why

PATIENCE = 60.0

SCRIPT = """
import time
from pathlib import Path

import perdure

env = perdure.TaskEnvironment("waits", resources=perdure.Resources(cpu=1))


@env.task
def hold(gate: str, k: int = 0) -> int:
    print(f"holding {k}", flush=True)
    while not Path(gate).exists():
        time.sleep(0.01)
    return k


@env.task(retries=perdure.RetryStrategy(count=3, backoff=perdure.Backoff(3600.0)))
def flaky() -> int:
    raise ValueError("not today\\nnor tomorrow")


@env.task
def many(gate: str, n: int = 4) -> int:
    return sum(perdure.map(hold, [gate] * n, range(n)))


@env.task
def once() -> int:
    return flaky()


@env.task
def bad() -> int:
    raise KeyError("nothing")
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "waits.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def gate(tmp_path):
    path = tmp_path / "gate"
    yield path
    path.touch()


@pytest.fixture
def apart(cli, home, gate):
    """Start a run in a process of its own, which is gone when the test is over."""
    pids = []

    def start(name, *arguments):
        pids.append(cli.json("run", "--no-follow", "--name", name, *arguments)["pid"])
        return pids[-1]

    yield start
    gate.touch()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while presence.starts(home / "controllers") and time.monotonic() < end:
        time.sleep(0.02)


def until(look, is_so):
    """Look again and again until it is so; return what was seen."""
    end = time.monotonic() + PATIENCE
    while not is_so(seen := look()):
        assert time.monotonic() < end, seen
        time.sleep(0.05)
    return seen


def asked(*about):
    """Return what ``perdure why --json`` prints."""
    return as_dict(why(*about))


def kinds(found):
    return [link["reason"]["kind"] for link in found["chain"]]


def test_a_run_says_what_it_waits_for_down_to_the_process(cli, script, gate, apart):
    apart("r", script, "many", "--gate", gate, "--n", "1")
    until(
        lambda: asked("r"),
        lambda found: kinds(found) == ["children", "running"] and "wrote" in str(found["notes"]),
    )
    found = cli.json("why", "r")
    assert kinds(found) == ["children", "running"]
    assert {"label": "wrote", "text": "holding 0"} in found["notes"]
    text = cli("why", "r").stdout
    assert "waits for its call\n" in text
    assert "waits.hold #2 has been running for" in text
    assert f"in process {found['chain'][-1]['reason']['pid']}" in text


def test_an_action_says_who_has_what_it_lacks_and_its_place_in_line(
    script, gate, apart, monkeypatch
):
    monkeypatch.setenv("PERDURE_RESOURCES", "cpu=2")
    apart("r", script, "many", "--gate", gate, "--n", "4")
    until(
        lambda: asked("r"),
        lambda found: found["chain"][:1] and found["chain"][0]["reason"].get("phases")
        == {"running": 2, "queued": 2},
    )  # fmt: skip
    until(lambda: len(link.views().unfinished(link.get("r").key)), lambda count: count == 5)
    found = asked("r", "5")
    (last,) = found["chain"]
    assert last["reason"]["kind"] == "no_room"
    assert last["reason"]["short"] == ("cpu",)
    assert last["line"]["ahead"] == 1
    text = str(why("r", "5"))
    assert "it asks for 1 cpu, and 0 of 2 cpu are free" in text
    assert "held by      waits.hold #" in text
    assert "in line      1 of this run go first" in text


def test_a_retry_says_when_it_comes_and_what_failed(script, apart):
    apart("r", script, "once")
    until(lambda: asked("r"), lambda found: kinds(found)[1:] == ["backing_off"])
    text = str(why("r"))
    assert "waits.flaky #2 has failed, and is tried again at" in text
    assert "before       attempt 0 ended with ValueError: not today; attempt 1 is next" in text


def test_a_run_that_nobody_drives_says_who_did_and_how_to_go_on(script, gate, apart):
    pid = apart("r", script, "many", "--gate", gate, "--n", "1")
    until(lambda: asked("r"), lambda found: kinds(found) == ["children", "running"])
    until(lambda: len(link.views().unfinished(link.get("r").key)), lambda count: count == 2)
    os.kill(pid, signal.SIGKILL)
    until(lambda: asked("r"), lambda found: found["phase"] == "interrupted")
    text = str(why("r"))
    assert f"r was interrupted: process {pid}, which drove it, is gone (last heard of at" in text
    assert "under way    waits.many #1" in text
    assert "go on        perdure resume r" in text
    assert "was interrupted" in str(why("r", "2"))


def test_a_run_that_has_ended_says_how(cli, script):
    cli("run", script, "bad", "--name", "r", code=1)
    text = str(why("r"))
    assert text.startswith("r has failed, at ")
    assert "error        KeyError: 'nothing'" in text
    assert "what failed  waits.bad #1" in text
    assert "waits.bad #1 of r has failed, at" in str(why("r", "1"))
    assert asked("r")["chain"] == ()
    assert "did you mean r?" in cli("why", "rr", code=3).stderr
    assert cli.json("why", "r", "99", code=3)["code"] == "action_not_found"


def test_a_process_that_does_not_answer_is_named(script, gate, apart, monkeypatch):
    pid = apart("r", script, "many", "--gate", gate, "--n", "1")
    until(lambda: asked("r"), lambda found: kinds(found) == ["children", "running"])
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.05)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert str(why("r")) == f"r is driven by process {pid}, which is silent"
    finally:
        os.kill(pid, signal.SIGCONT)


# --- top ------------------------------------------------------------------------------------------


def test_top_says_that_nothing_goes_on(cli, home):
    text = cli("top").stdout
    assert "0 runs · 0 running · 0 waiting · 0 processes" in text
    assert f"no process drives a run in {home}" in text
    assert cli.json("top")["controllers"] == []


def test_top_shows_all_processes_of_a_home(cli, script, gate, apart):
    pids = {apart(name, script, "many", "--gate", gate, "--n", "1") for name in ("a", "b")}
    surveyor = Surveyor()
    until(
        surveyor.look,
        lambda found: sum(len(s.overview.running) for s in found.controllers if s.overview) == 2,
    )
    found = cli.json("top")
    assert {seen["pid"] for seen in found["controllers"]} == pids
    for seen in found["controllers"]:
        told = msgspec.convert(seen["overview"], Overview)
        assert told.waiting == {"children": 1}
        assert [each.task for each in told.runs] == ["waits.many"]
    text = cli("top", "--once").stdout
    assert "2 runs · 2 running · 2 waiting · 2 processes" in text
    assert "waiting   2 for their calls" in text
    for name in ("a", "b"):
        assert len([line for line in text.splitlines() if f"  {name} " in line]) >= 1
