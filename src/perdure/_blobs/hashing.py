"""The digest of blobs: 32 bytes of BLAKE3."""

from collections.abc import Sequence

from blake3 import blake3

BLOB_DIGEST_BYTES = 32
_PARALLEL_BYTES = 1 << 20  # below, starting threads costs more than they gain


def as_bytes(parts: Sequence[bytes | memoryview]) -> list[memoryview]:
    """Return views of the parts that are not empty, byte by byte."""
    return [memoryview(part).cast("B") for part in parts if len(part)]


def blake3_of(parts: Sequence[bytes | memoryview]) -> bytes:
    """Return the BLAKE3 digest of the concatenation of ``parts``."""
    large = sum(map(len, parts)) >= _PARALLEL_BYTES
    hasher = blake3(max_threads=blake3.AUTO if large else 1)
    for part in parts:
        hasher.update(part)
    return hasher.digest()
