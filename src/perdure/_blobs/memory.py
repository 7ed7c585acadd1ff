"""Blobs in a dictionary: for tests and for values that never leave the process."""

from collections.abc import Sequence

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
