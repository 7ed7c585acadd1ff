"""Echo: what tasks print appears in the process that drives the run, line by line.

Workers write to files, so that nothing is lost when anybody dies. This reads what has been added
and passes whole lines on, a few times a second, and only while there are workers.
"""

import os
from collections.abc import Callable
from pathlib import Path


class Echo:
    """Follows the logs of workers.

    Args:
        write: Called with text that ends in a newline.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._logs: dict[int, _Followed] = {}

    def follow(self, worker: int, path: str) -> None:
        """Pass on what the worker writes from now on."""
        self._logs[worker] = _Followed(path)

    def leave(self, worker: int) -> None:
        """The worker is gone: pass on the rest of its log."""
        log = self._logs.pop(worker, None)
        if log is not None:
            self._pass_on(log.added() + log.rest())
            log.close()

    def look(self) -> None:
        """Pass on what has been added."""
        for log in self._logs.values():
            self._pass_on(log.added())

    def close(self) -> None:
        """Leave every worker."""
        for worker in list(self._logs):
            self.leave(worker)

    def _pass_on(self, text: bytes) -> None:
        if text:
            self._write(text.decode(errors="replace"))


class _Followed:
    """A log and how far it has been read."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._at = 0
        self._partial = b""

    def added(self) -> bytes:
        """Return the lines that are complete by now."""
        size = os.fstat(self._file).st_size
        if size == self._at:
            return b""
        text = self._partial + os.pread(self._file, size - self._at, self._at)
        self._at = size
        end = text.rfind(b"\n") + 1
        self._partial = text[end:]
        return text[:end]

    def rest(self) -> bytes:
        """Return the last line, if it has no end."""
        return self._partial + b"\n" if self._partial else b""

    def close(self) -> None:
        os.close(self._file)
