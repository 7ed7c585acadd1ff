"""Which bytes of the worker's log belong to which attempt.

File descriptors 1 and 2 *are* the log (opened for appending), so nothing is copied: whatever
Python, a C library or a subprocess writes is in the file already, in order. What is left to do is
to remember ranges.

- While an attempt is the only active one, everything that is appended is its own: its range goes
  from the size of the file at its begin to the size at its end. A sync worker never knows anything
  else.
- In an async worker attempts interleave. There, ``sys.stdout`` and ``sys.stderr`` are replaced by
  streams that write through, and learn from the file position after each write (with O_APPEND it is
  the end of exactly these bytes) where they went; the context variable :data:`current` says for
  whom. What C code or subprocesses write while several attempts are active belongs to nobody: it
  stays readable in the worker's log.

In a worker that has secrets, descriptors 1 and 2 are a pipe to a process that masks them
(``sieve.py``), and the streams of an async worker mask what they write through.
"""

import io
import os
import sys
import threading
from contextvars import ContextVar
from pathlib import Path

from perdure._core.model import LogSpan
from perdure._secrets.masking import Flow, Mask
from perdure._worker.sieve import Sieve

current: ContextVar[int] = ContextVar("perdure_attempt", default=0)
"""Handle of the attempt on whose behalf the running code writes; 0 if none."""

MAX_SPANS = 1000
"""An attempt with more ranges than this gets one range that covers them all."""


class LogCapture:
    """Collects the ranges of the log that each active attempt writes.

    Args:
        path: The worker's log, which stdout and stderr are appending to.
        interleaved: Whether several attempts may be active at once; replaces ``sys.stdout`` and
            ``sys.stderr``.
    """

    def __init__(self, path: Path, *, interleaved: bool) -> None:
        # A descriptor of our own: user code may redirect or close 1 and 2, and its position says
        # where our own writes ended.
        self._log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._lock = threading.Lock()  # nobody may move the position between a write and a look
        self._streams = (sys.stdout, sys.stderr)
        self._mask: Mask | None = None
        self._sieve: Sieve | None = None
        self._flows: dict[int, Flow] = {}
        self._active: dict[int, _Ranges] = {}
        self._alone: _Ranges | None = None
        if interleaved:
            sys.stdout = self._stream(1)
            sys.stderr = self._stream(2)

    def guard(self, mask: Mask) -> None:
        """Keep secrets out of the log from now on."""
        self._mask = mask
        self._sieve = Sieve(mask, self._log)

    def begin(self, attempt: int) -> None:
        """The attempt starts to run; the caller sets :data:`current` in its context."""
        ranges = _Ranges()
        if not self._active:
            ranges.since = self._size()
            self._alone = ranges
        elif self._alone is not None:
            self._alone.add(self._alone.since, self._size())
            self._alone = None
        self._active[attempt] = ranges

    def end(self, attempt: int) -> tuple[LogSpan, ...]:
        """The attempt has ended; return the ranges it wrote, in order."""
        if (flow := self._flows.pop(attempt, None)) is not None:
            self._write(flow.rest(), attempt)
        ranges = self._active.pop(attempt)
        if ranges is self._alone:
            ranges.add(ranges.since, self._size())
            self._alone = None
        return ranges.spans()

    def _size(self) -> int:
        """Return the size of the log, everything that Python has buffered included."""
        for stream in self._streams:
            try:
                stream.flush()
            except ValueError:  # closed by user code
                continue
        if self._sieve is not None:
            self._sieve.settle()
        with self._lock:
            return os.lseek(self._log, 0, os.SEEK_END)

    def append(self, data: memoryview) -> int:
        """Write to the log for the running code, and return how many bytes it took."""
        attempt = current.get()
        if self._mask is None:
            return self._write(data, attempt)
        flow = self._flows.setdefault(attempt, Flow(self._mask))
        rest = memoryview(flow.feed(bytes(data)))
        while rest:
            rest = rest[self._write(rest, attempt) :]
        return len(data)

    def _write(self, data: memoryview | bytes, attempt: int) -> int:
        with self._lock:
            size = os.write(self._log, data)
            ranges = self._active.get(attempt)
            if ranges is not None and ranges is not self._alone:
                end = os.lseek(self._log, 0, os.SEEK_CUR)
                ranges.add(end - size, end)
        return size

    def _stream(self, fd: int) -> io.TextIOWrapper:
        return io.TextIOWrapper(
            _Writer(self, fd),  # type: ignore[arg-type]  # raw is what "python -u" uses, too
            encoding="utf-8",
            errors="backslashreplace",
            write_through=True,
        )


class _Ranges:
    """The ranges of one attempt. ``since``: where its undisputed range begins."""

    __slots__ = ("_spans", "since")

    def __init__(self) -> None:
        self.since = 0
        self._spans: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        if start == end:
            return
        spans = self._spans
        if spans and spans[-1][1] == start:
            start = spans.pop()[0]
        spans.append((start, end))
        if len(spans) > MAX_SPANS:
            spans[:] = [(spans[0][0], end)]

    def spans(self) -> tuple[LogSpan, ...]:
        return tuple(LogSpan(start, end) for start, end in self._spans) if self._spans else ()


class _Writer(io.RawIOBase):
    """The bottom of a replaced stream. ``fd``: what it claims to be, for subprocesses."""

    def __init__(self, capture: LogCapture, fd: int) -> None:
        self._append = capture.append
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            rest = rest[self._append(rest) :]
        return size
