"""Kill a run that has done much, start it again, and see how long it takes to do something new.

A peer's ``flow(scratch, n)`` runs or resumes a run: n tasks, then one more that calls
:func:`arrive`. The first process is killed with SIGKILL while it waits there, so everything before
is done; in the second one, ``arrive`` tells when it got there.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from child import HERE, Figures

PATIENCE = 280.0


def arrive(scratch: Path) -> int:
    """Leave word of the time, and wait until it is allowed to go on."""
    word = scratch / "arriving"
    word.write_text(repr(time.time()))
    word.rename(scratch / "arrived")
    while not (scratch / "go").exists():
        time.sleep(0.05)
    return 0


def run_and_kill(peer: str, scratch: Path, n: int) -> float:
    """Start the flow, kill it when its n tasks are done; return the seconds that took."""
    start = time.time()
    process = _start(peer, scratch, n)
    arrived = _wait_for_arrival(process, scratch)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (scratch / "arrived").unlink()
    (scratch / "go").touch()
    return arrived - start


def resume(peer: str, scratch: Path, n: int) -> float:
    """Start the flow again; return the seconds from there to its first new task."""
    start = time.time()
    process = _start(peer, scratch, n)
    arrived = _wait_for_arrival(process, scratch)
    if process.wait(PATIENCE):
        raise RuntimeError(f"the resumed flow of {peer} ended with status {process.returncode}")
    return arrived - start


def kill_and_resume(peer: str, scratch: Path, n: int) -> Figures:
    """Do both and return the figures."""
    first = run_and_kill(peer, scratch, n)
    return {"first_s": first, "resume_s": resume(peer, scratch, n)}


def _start(peer: str, scratch: Path, n: int) -> "subprocess.Popen[bytes]":
    code = (
        "import importlib, pathlib, sys; _, module, scratch, n = sys.argv\n"
        "importlib.import_module(f'peers.{module}').flow(pathlib.Path(scratch), int(n))"
    )
    command = [sys.executable, "-c", code, peer, str(scratch), str(n)]
    # A session of its own: SIGKILL reaches whatever the peer has started, as a lost machine would.
    return subprocess.Popen(command, cwd=HERE, start_new_session=True, stdout=subprocess.DEVNULL)


def _wait_for_arrival(process: "subprocess.Popen[bytes]", scratch: Path) -> float:
    word, end = scratch / "arrived", time.monotonic() + PATIENCE
    while not word.exists():
        if process.poll() is not None:
            raise RuntimeError(f"the flow ended with status {process.returncode} too early")
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
            raise TimeoutError(f"the flow did not get there in {PATIENCE:.0f} s")
        time.sleep(0.002)
    return float(word.read_text())
