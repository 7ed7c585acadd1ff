"""Blobs in a dictionary: for tests and for values that never leave the process."""

import io
from collections.abc import Sequence
from typing import IO

from perdure._blobs.hashing import as_bytes, blake3_of
from perdure.errors import BlobMissingError


class MemoryBlobs:
    """The Blobs port over a dictionary."""

    def __init__(self) -> None:
        self._blobs: dict[bytes, bytes] = {}

    def put(self, parts: Sequence[bytes | memoryview]) -> bytes:
        """Store the concatenation of ``parts`` if absent; return its 32-byte digest."""
        content = b"".join(as_bytes(parts))
        digest = blake3_of([content])
        self._blobs.setdefault(digest, content)
        return digest

    def get(self, digest: bytes, *, private: bool = False) -> memoryview:
        """Return the content read-only, or a copy of it if it is to be ``private``.

        Raises:
            BlobMissingError: There is no such blob.
        """
        try:
            content = self._blobs[digest]
        except KeyError:
            raise BlobMissingError(
                f"blob {digest.hex()} is not in memory", hint="it was never stored here"
            ) from None
        return memoryview(bytearray(content) if private else content)

    def has(self, digest: bytes) -> bool:
        """Whether the blob is stored."""
        return digest in self._blobs

    def keep(self, digest: bytes) -> None:
        """Do nothing: what is in memory goes with the object.

        Raises:
            BlobMissingError: There is no such blob.
        """
        self.get(digest)

    def is_whole(self, digest: bytes) -> bool:
        """Whether the blob is stored."""
        return digest in self._blobs

    def create(self) -> "_MemorySink":
        """Begin a blob that is written piece by piece."""
        return _MemorySink(self)

    def open(self, digest: bytes) -> IO[bytes]:
        """Open the content for reading.

        Raises:
            BlobMissingError: There is no such blob.
        """
        return io.BytesIO(self.get(digest))

    def where(self, digest: bytes) -> str:
        """Return what stands for a place."""
        return f"memory:{digest.hex()}"


class _MemorySink:
    def __init__(self, blobs: MemoryBlobs) -> None:
        self._blobs = blobs
        self._content = bytearray()

    @property
    def digest(self) -> bytes:
        """The digest of what has been written so far."""
        return blake3_of([memoryview(self._content)])

    def write(self, data: bytes | memoryview) -> int:
        """Add to the content."""
        self._content += data
        return len(data)

    def commit(self) -> tuple[bytes, int]:
        """Store the blob."""
        return self._blobs.put([bytes(self._content)]), len(self._content)

    def abort(self) -> None:
        """Forget what was written."""
        self._content.clear()
