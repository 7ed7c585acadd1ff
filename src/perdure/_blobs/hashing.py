"""The digest of blobs, and of trees of files: 32 bytes of BLAKE3."""

import os
from collections.abc import Sequence
from pathlib import Path

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


def blake3_of_tree(path: Path) -> bytes:
    """Return the digest of the files at and below ``path``: of their names and what is in them."""
    tree = blake3()
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted({*files, *folders}):
            each = Path(folder, name)
            content = _content(each)
            tree.update(b"%d " % len(content) + os.fsencode(each.relative_to(path)) + b"\0")
            tree.update(content)
    return tree.digest() if path.is_dir() else _content(path)


def _content(path: Path) -> bytes:
    """Return what stands for a file, a link, or a folder as such, among others in a tree."""
    if path.is_symlink():
        return os.fsencode(path.readlink())
    if path.is_dir():
        return b""
    return blake3(max_threads=blake3.AUTO).update_mmap(path).digest()
