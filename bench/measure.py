"""Run a process and see from outside what memory it and all that it starts take.

Memory is the sum of the proportional set sizes (PSS), in which a page that several processes share
counts once. It is sampled, and a sample costs the machine something, so samples keep their distance
from each other: at most two percent of one core.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROC = Path("/proc")
SHORTEST, SHARE = 0.1, 0.02


class MeasurementError(Exception):
    """A workload that came to nothing: the message is what the report says."""


def run(command: Sequence[str], environ: Mapping[str, str], timeout: float) -> dict[str, Any]:
    """Run a command; return the figures it printed, with its peak memory.

    Args:
        command: Its last line of output that is a JSON object is taken as its figures.
        environ: Its environment.
        timeout: Seconds after which it is killed with all that it started.

    Raises:
        MeasurementError: It failed or took too long.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, env=environ, stdout=out, stderr=err, text=True, start_new_session=True
        )
        watch = Watch(process.pid)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"given up after {timeout:.0f} s") from None
        finally:
            watch.stop()
            process.kill()
            process.wait()
            end(watch.seen)
        out.seek(0)
        err.seek(0)
        if status:
            raise MeasurementError(_last(err.read()) or f"ended with status {status}")
        figures = _figures(out.read())
    return {**figures, "peak_mb": watch.peak_mb}


class Watch:
    """Samples the memory of a process and its descendants until it is stopped.

    Attributes:
        peak_mb: The largest sum seen; None where it cannot be known (macOS).
        seen: Every process there was, and when it started: numbers are used again.
    """

    def __init__(self, pid: int) -> None:
        self.peak_mb: float | None = None
        self.seen: dict[int, str] = {}
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        if PROC.exists():
            self._thread.start()

    def stop(self) -> None:
        """Sample no more."""
        self._over.set()
        if self._thread.ident:
            self._thread.join()

    def _sample(self) -> None:
        pause = SHORTEST
        while not self._over.wait(pause):
            start = time.thread_time()
            pids = tree(self._pid)
            self.seen |= pids
            self.peak_mb = max(self.peak_mb or 0.0, sum(map(pss_mb, pids)))
            pause = max(SHORTEST, (time.thread_time() - start) / SHARE)


def tree(pid: int) -> dict[int, str]:
    """Return a process and its descendants, each with the time it started at."""
    starts: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := stat(int(entry.name))):
            starts[int(entry.name)] = fields[19]
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, ahead = [pid], [pid]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return {each: starts[each] for each in found if each in starts}


def stat(pid: int) -> list[str]:
    """Return what the kernel says of a process, from its state on; nothing if it is gone."""
    with contextlib.suppress(OSError):
        text = (PROC / str(pid) / "stat").read_text()
        return text[text.rindex(")") + 2 :].split()
    return []


def pss_mb(pid: int) -> float:
    """Return the proportional set size of a process; 0 if it is gone."""
    with contextlib.suppress(OSError, StopIteration):
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    return 0.0


def end(processes: Mapping[int, str]) -> None:
    """Kill what is left of a workload's processes, so that it does not weigh on the next one."""
    for pid, started in processes.items():
        fields = stat(pid)
        if fields and fields[19] == started:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _figures(output: str) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    return {}


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""
