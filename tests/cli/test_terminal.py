"""Through a real terminal: live progress, colours, Ctrl-C."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

PATIENCE = 60.0


class Terminal:
    """A process on a pseudo-terminal of its own."""

    def __init__(self, *arguments):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "perdure", *map(str, arguments)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=take_terminal,
            env=os.environ | {"TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def read_until(self, pattern):
        """Read until the pattern appears in what was written since the last call."""
        start = len(self.seen)
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, plain(self.seen[start:])):
            ready, _, _ = select.select([self._master], [], [], deadline - time.monotonic())
            assert ready, f"{pattern!r} did not appear:\n{plain(self.seen)}"
            if not self._more():
                pytest.fail(f"ended before {pattern!r} appeared:\n{plain(self.seen)}")

    def press_ctrl_c(self):
        self.press("\x03")

    def press(self, keys):
        os.write(self._master, keys.encode())

    def wait(self):
        """Read to the end and return the exit code."""
        while self._more():
            pass
        return self.process.wait(PATIENCE)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _more(self):
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # the other side is closed
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


def take_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Processes in the background may ignore it; what is started in a terminal does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def plain(text):
    """Return the text without control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@pytest.fixture
def terminal():
    opened = []

    def start(*arguments):
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_progress_is_live_and_coloured(terminal, pipeline, tmp_path):
    gate = tmp_path / "gate"
    run = terminal("run", pipeline, "gated", "--gate", gate, "--name", "live")
    run.read_until(r"demo\.square\s.*3/3")
    run.read_until(r"demo\.hold\s.*0/1.*1 running")
    gate.write_text("")
    assert run.wait() == 0, plain(run.seen)
    assert "\x1b[" in run.seen
    assert "live succeeded" in plain(run.seen)


def test_ctrl_c_stops_cleanly_and_the_run_goes_on_later(terminal, cli, pipeline, tmp_path):
    gate = tmp_path / "gate"
    run = terminal("run", pipeline, "gated", "--gate", gate, "--name", "stopped")
    run.read_until(r"demo\.hold\s.*1 running")
    run.press_ctrl_c()
    assert run.wait() == 130, plain(run.seen)
    assert "perdure resume stopped" in plain(run.seen)
    assert "Traceback" not in run.seen
    assert cli.json("show", "stopped")["phase"] == "interrupted"
    gate.write_text("")
    assert cli.json("resume", "stopped")["result"] == 5
    squares = [line for line in cli("logs", "stopped").stdout.splitlines() if "squaring" in line]
    assert len(squares) == 3  # none ran twice


def test_sigterm_stops_cleanly_too(terminal, cli, pipeline, tmp_path):
    run = terminal("run", pipeline, "gated", "--gate", tmp_path / "gate", "--name", "stopped")
    run.read_until(r"demo\.hold\s.*1 running")
    run.process.terminate()
    assert run.wait() == 130, plain(run.seen)
    assert "perdure resume stopped" in plain(run.seen)


def test_watching_and_leaving_does_not_disturb_the_run(terminal, cli, pipeline, tmp_path):
    gate = tmp_path / "gate"
    cli("run", "--no-follow", "--name", "away", pipeline, "gated", "--gate", gate)
    watch = terminal("watch", "away")
    watch.read_until(r"demo\.hold\s.*1 running")
    watch.press_ctrl_c()
    assert watch.wait() == 130
    gate.write_text("")
    assert cli.json("watch", "away")["result"] == 5


def test_abort_stops_a_run_of_another_process(cli, pipeline, tmp_path, terminal):
    run = terminal("run", pipeline, "gated", "--gate", tmp_path / "gate", "--name", "doomed")
    run.read_until(r"demo\.hold\s.*1 running")
    assert "aborted doomed" in cli("abort", "doomed").stdout
    assert run.wait() == 1, plain(run.seen)
    assert "doomed aborted" in plain(run.seen)


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_top_shows_what_goes_on_until_a_key_ends_it(terminal, pipeline, tmp_path, key):
    gate = tmp_path / "gate"
    run = terminal("run", pipeline, "gated", "--gate", gate, "--name", "busy")
    run.read_until(r"demo\.hold\s.*1 running")
    top = terminal("top")
    top.read_until(r"demo\.hold #\d+ +busy")
    top.press("x")  # means nothing
    top.read_until(r"1 run · 1 running · 1 waiting · 1 process")
    top.press(key)
    assert top.wait() == 0, plain(top.seen)
    assert "Traceback" not in top.seen
    assert "\x1b[?1049l" in top.seen  # what was on the screen before is there again
    gate.write_text("")
    assert run.wait() == 0, plain(run.seen)


def test_live_progress_says_why_nothing_moves(terminal, pipeline, tmp_path):
    gate = tmp_path / "gate"
    run = terminal("run", pipeline, "gated", "--gate", gate, "--name", "still")
    run.read_until(r"demo\.hold #\d+ has been running for \S+, in process \d+")
    gate.write_text("")
    assert run.wait() == 0, plain(run.seen)
