"""A worker as a test starts it: connected to its controller by an inherited socket."""

import socket
import sys
from pathlib import Path

from perdure._core.model import Bundle
from perdure._wire.framing import FrameReader
from perdure._wire.messages import Welcome
from perdure._worker import async_executor, sync_executor
from perdure._worker.logs import LogCapture
from perdure._worker.main import Link

if __name__ == "__main__":
    fd, is_async, folder, log = sys.argv[1:]
    link = Link(
        socket.socket(fileno=int(fd)),
        FrameReader(),
        Welcome(Bundle(), str(Path(folder) / "blobs"), 0.5),
        [],
        LogCapture(Path(log), interleaved=is_async == "1"),
    )
    (async_executor if is_async == "1" else sync_executor).run(link)
