"""Blobs in the making, as files: what a library writes itself never lies in memory as a whole."""

import io
from typing import Any

from perdure._ports import Blobs


class BlobFile(io.RawIOBase):
    """A file that becomes a blob, if it is committed inside its ``with`` block."""

    def __init__(self, blobs: Blobs) -> None:
        self._sink = blobs.create()

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Add to the content."""
        return self._sink.write(memoryview(data).cast("B"))

    def commit(self) -> tuple[bytes, int]:
        """Store what was written; return its digest and its size."""
        return self._sink.commit()

    def __exit__(self, *failure: object) -> None:
        self._sink.abort()
