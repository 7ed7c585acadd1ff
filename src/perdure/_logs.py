"""Reading workers' logs: the ranges of an attempt, or a log that still grows."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from perdure._core.model import LogSpan

_CHUNK_BYTES = 1 << 20
_POLL_SECONDS = 0.1


def read_spans(path: str | Path, spans: Iterable[LogSpan]) -> bytes:
    """Return the bytes of the ranges, in order; what is not (or no longer) in the file is left out.

    Raises:
        FileNotFoundError: The log is gone.
    """
    with Path(path).open("rb") as log:
        return b"".join(os.pread(log.fileno(), span.end - span.start, span.start) for span in spans)


def follow(path: str | Path, ended: Callable[[], bool], start: int = 0) -> Iterator[bytes]:
    """Yield what is in the log from ``start``, then what is added, until ``ended()`` and no more.

    A log that does not exist yet is waited for.
    """
    while True:
        last_round = ended()  # asked before reading: what was written before the end is still read
        try:
            with Path(path).open("rb") as log:
                log.seek(start)
                while chunk := log.read(_CHUNK_BYTES):
                    start += len(chunk)
                    yield chunk
        except FileNotFoundError:
            pass
        if last_round:
            return
        time.sleep(_POLL_SECONDS)
