"""Ctrl-C at the moments that are hard to hit from outside."""

import signal
import types

import pytest

from perdure.cli import drive, progress
from perdure.client import link


class Runtime:
    """Counts its shutdowns; the next one may be interrupted."""

    def __init__(self, *, interrupted=False):
        self.shutdowns = 0
        self._interrupted = interrupted

    def shutdown(self):
        self.shutdowns += 1
        if self._interrupted:
            signal.raise_signal(signal.SIGINT)


class Exited(BaseException):
    pass


@pytest.fixture
def follow_is_interrupted(monkeypatch):
    def interrupt(*_args, check, **_options):
        signal.raise_signal(signal.SIGINT)
        check()

    def leave(code):
        raise Exited(code)

    monkeypatch.setattr(progress, "follow", interrupt)
    monkeypatch.setattr(drive.os, "_exit", leave)


def start():
    return types.SimpleNamespace(name="r")


@pytest.mark.usefixtures("follow_is_interrupted")
def test_the_first_ctrl_c_waits_for_a_clean_stop(monkeypatch, capsys):
    runtime = Runtime()
    monkeypatch.setattr(link, "running", lambda: runtime)
    assert drive.to_the_end("r", start, as_json=False) == 130
    assert runtime.shutdowns == 1
    assert "perdure resume r" in capsys.readouterr().err


@pytest.mark.usefixtures("follow_is_interrupted")
def test_the_second_ctrl_c_does_not_wait(monkeypatch, capfd):
    monkeypatch.setattr(link, "running", lambda: Runtime(interrupted=True))
    with pytest.raises(Exited, match="130"):
        drive.to_the_end("r", start, as_json=False)
    assert "perdure resume r" in capfd.readouterr().err


@pytest.mark.usefixtures("follow_is_interrupted")
def test_ctrl_c_is_json_when_json_was_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(link, "running", Runtime)
    assert drive.to_the_end("r", start, as_json=True) == 130
    assert '"phase": "interrupted"' in capsys.readouterr().out


@pytest.mark.usefixtures("follow_is_interrupted")
def test_a_ctrl_c_while_the_run_is_started_is_obeyed_when_it_has(monkeypatch, capsys):
    def interrupted_start():
        signal.raise_signal(signal.SIGINT)
        return start()

    monkeypatch.setattr(link, "running", Runtime)
    monkeypatch.setattr(progress, "follow", lambda *_args, check, **_options: check())
    assert drive.to_the_end("r", interrupted_start, as_json=False) == 130
    assert "perdure resume r" in capsys.readouterr().err


@pytest.mark.usefixtures("follow_is_interrupted")
def test_ctrl_c_leaves_a_run_of_another_process_alone(monkeypatch, capsys):
    monkeypatch.setattr(link, "running", lambda: None)
    assert drive.to_the_end("r", start, as_json=False) == 130
    assert "goes on" in capsys.readouterr().err
