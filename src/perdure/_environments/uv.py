"""Running uv: where it is, what it says, and how it is stopped."""

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from perdure.errors import EnvironmentBuildError, EnvironmentUnavailableError

_SAID = 2000
"""Characters of what uv said last that go into an error."""

_POLL_SECONDS = 0.02
_FULL = os.strerror(errno.ENOSPC)
_NETWORK = re.compile(
    r"error sending request|client error \(Connect\)|dns error|operation timed out|"
    r"connection (refused|reset|closed)|HTTP status server error",
    re.IGNORECASE,
)


class Stopped(Exception):  # no error: somebody wants it
    """The build was told to stop."""


def find_uv() -> str:
    """Return the path of uv.

    Raises:
        EnvironmentBuildError: It is not installed.
    """
    with contextlib.suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin

        return find_uv_bin()
    path = shutil.which("uv")
    if path is None:
        raise EnvironmentBuildError(
            "images are made with uv, which is not installed",
            hint="pip install uv",
        )
    return path


class Uv:
    """Runs uv, and writes what it says to a log.

    Args:
        log: Open for writing.
        environ: Its environment variables.
        keep: A descriptor that it, and what it starts, hold open for as long as they live.
        stop: Once set, what runs is killed.
    """

    def __init__(
        self, log: IO[bytes], environ: Mapping[str, str], keep: int, stop: threading.Event
    ) -> None:
        self._path = find_uv()
        self._log = log
        self._environ = environ
        self._keep = keep
        self._stop = stop

    def run(self, *arguments: str, cwd: Path, output: Path | None = None) -> None:
        """Run it to its end.

        Args:
            *arguments: What follows ``uv``.
            cwd: Where.
            output: File for what it writes to stdout, in place of the log.

        Raises:
            EnvironmentBuildError: It failed.
            EnvironmentUnavailableError: It could not reach an index.
            Stopped: It was told to stop.
        """
        self._log.write(f"$ uv {' '.join(arguments)}\n".encode())
        self._log.flush()
        began = self._log.tell()
        with contextlib.ExitStack() as files:
            stdout = self._log if output is None else files.enter_context(output.open("wb"))
            process = subprocess.Popen(
                [self._path, *arguments],
                cwd=cwd,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=self._log,
                pass_fds=[self._keep],
                start_new_session=True,
            )
            code = self._wait(process)
        self._log.seek(0, os.SEEK_END)
        if code:
            raise _failed(self._said_since(began), arguments)

    def _wait(self, process: "subprocess.Popen[bytes]") -> int:
        try:
            while (code := process.poll()) is None:
                if self._stop.wait(_POLL_SECONDS):
                    raise Stopped
            return code
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _said_since(self, began: int) -> str:
        said = Path(self._log.name).read_bytes()[began:].decode(errors="replace").strip()
        return said if len(said) <= _SAID else f"... {said[-_SAID:]}"


def _failed(said: str, arguments: Sequence[str]) -> EnvironmentBuildError:
    text = f"uv {' '.join(arguments[:2])} failed:\n{said}"
    if _NETWORK.search(said):
        return EnvironmentUnavailableError(text)
    full = "make room, or set PERDURE_HOME to a folder with more" if _FULL in said else ""
    return EnvironmentBuildError(text, hint=full)
