"""Blobs whose digest is not known before their last byte has been written."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from perdure._blobs.writeback import begin_writeback
from perdure.errors import StorageError

TEMPORARY = ".tmp-"
"""What the name of a file begins with while it is written."""

READ_ONLY = 0o444

WRITE_CHUNK = 16 << 20
"""Bytes that are handed to the disk while the next are copied."""

Adopt = Callable[[bytes, int, str], None]
"""Gives the open file of a digest, of that temporary name, its own."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalSink:
    """A blob being written to a temporary file, hashed on the way.

    Its file lies in the folder of all blobs, because which of the 256 below it belongs in is not
    known before its end.

    Args:
        folder: The folder of all blobs.
        adopt: What makes it a blob.
        sync: Whether it must survive power loss.
    """

    def __init__(self, folder: str, adopt: Adopt, *, sync: bool) -> None:
        self._folder = folder
        self._adopt = adopt
        self._sync = sync
        self._hasher = blake3(max_threads=blake3.AUTO)
        self._size = self._begun = 0
        self._temporary = f"{folder}/{TEMPORARY}{os.getpid()}-{os.urandom(8).hex()}"
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._descriptor = os.open(self._temporary, flags, READ_ONLY)
        except OSError as error:
            raise unwritable(error, self._temporary, 0, folder) from error

    @property
    def digest(self) -> bytes:
        """The digest of what has been written so far."""
        return self._hasher.digest()

    def write(self, data: bytes | memoryview) -> int:
        """Add to the content; return how many bytes that were.

        Raises:
            StorageError: It cannot be written.
        """
        if not len(data):
            return 0  # such a view cannot be cast
        rest = view = memoryview(data).cast("B")
        self._hasher.update(view)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest[:WRITE_CHUNK]) :]
        except OSError as error:
            raise self._unwritable(error) from error
        self._size += len(view)
        if self._sync and self._size - self._begun >= WRITE_CHUNK:
            begin_writeback(self._descriptor, self._begun, self._size - self._begun)
            self._begun = self._size
        return len(view)

    def commit(self) -> tuple[bytes, int]:
        """Store the blob; return its digest and its size.

        Raises:
            StorageError: It cannot be written.
        """
        digest = self.digest
        try:
            self._adopt(digest, self._descriptor, self._temporary)
        except StorageError:
            raise
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            self.abort()
        return digest, self._size

    def abort(self) -> None:
        """Forget what was written; after a commit, do nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            Path(self._temporary).unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> StorageError:
        return unwritable(error, self._temporary, self._size, self._folder)


def unwritable(error: OSError, path: str, size: int, folder: str) -> StorageError:
    """Return what to raise for a blob that could not be written."""
    return StorageError(
        f"a blob of {size:,} bytes cannot be written to {path}: {error.strerror or error}",
        hint="free some space, then resume the run"
        if error.errno in _FULL
        else f"make {folder} writable, or point PERDURE_HOME elsewhere",
    )
