"""Blobs as read-only files, named after their content.

The file of digest ``abcdef...`` is ``ab/cdef...``. A blob is written to a temporary file in its
final folder, synced, then renamed: a crash leaves either nothing or the whole blob under its name,
and two writers of the same content replace each other's identical file. Its time of modification is
then set to the same moment for all: a file that somebody has written to since is known by having
another, and is read as a whole before it is used, however large it is. Content goes straight from
the caller's buffer to the file, and readers map the file, so that all processes of a machine share
one copy in the page cache and none has one of its own.

Blobs that nothing refers to are collected (see ``sweeping.py``), but not while they are fresh. So
whoever finds a blob that is stored already, and is going to refer to it, makes it fresh: the time
of access of its file is the last time that somebody wanted it.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TypeVar

from perdure._blobs.hashing import as_bytes, blake3_of
from perdure._blobs.holding import held
from perdure._blobs.sink import READ_ONLY, TEMPORARY, WRITE_CHUNK, LocalSink, unwritable
from perdure._blobs.writeback import begin_writeback
from perdure.errors import BlobCorruptError, BlobMissingError, StorageError

_ANEW = "make its value again: perdure rerun RUN --no-recover"
_REMEMBERED = 10_000  # blobs of which a process knows that they are whole, or on disk
_VERIFIED_BYTES = 64 << 20  # takes 10 ms; reading a larger blob in place takes none
_SEALED = 315_532_800 * 10**9  # the first moment of 1980, in nanoseconds
_STALE_SECONDS = 24 * 3600
_FRESH_SECONDS = 600  # no need to make a blob fresh more often

_T = TypeVar("_T")


class LocalBlobs:
    """The Blobs port over a folder of the local file system.

    Args:
        folder: Where blobs live; made on the first write.
        sync: Whether a stored blob must survive power loss; without it, it survives the death of
            any process.
    """

    def __init__(self, folder: Path, *, sync: bool = True) -> None:
        self._folder = str(folder)
        self._sync = sync
        self._verified: dict[bytes, tuple[int, int, int]] = {}
        self._synced: dict[bytes, None] = {}
        self._kept: dict[bytes, float] = {}

    def path(self, digest: bytes) -> Path:
        """Return where the blob is, or would be, stored."""
        return Path(self._path(digest))

    def put(self, parts: Sequence[bytes | memoryview]) -> bytes:
        """Store the concatenation of ``parts`` if absent; return its 32-byte digest.

        A whole view that :meth:`get` returned is known by its digest, without a look at its bytes.

        Raises:
            BlobCorruptError: Such a view is not what it was any more, and would have to be stored.
            StorageError: The folder cannot be written.
        """
        views = as_bytes(parts)
        known, size = _known_digest(views), sum(map(len, views))
        digest = known or blake3_of(views)
        path = self._path(digest)
        try:
            if not self._is_kept(path, size):
                if known and blake3_of(views) != known:  # somebody has written to what is mapped
                    raise self._damaged(digest, size)
                self._write(path, views)
            elif self._sync and digest not in self._synced:
                _sync_stored(path)
        except BlobCorruptError:
            raise
        except OSError as error:
            raise unwritable(error, path, size, self._folder) from error
        if self._sync:
            remember(self._synced, digest, None)
        return digest

    def create(self) -> LocalSink:
        """Begin a blob that is written piece by piece."""
        return LocalSink(self._folder, self.adopt, sync=self._sync)

    def adopt(self, digest: bytes, descriptor: int, temporary: str) -> None:
        """Give an open file its name, durably: it has just been written, and hashed."""
        path = self.path(digest)
        known = digest in (self._synced if self._sync else self._verified)
        if known and self._is_kept(str(path), os.fstat(descriptor).st_size):
            return  # by this process: many files of a folder may be the same
        if not path.parent.is_dir():
            self._make(path.parent)
        if self._sync:
            os.fsync(descriptor)
        with held(self._folder, fcntl.LOCK_SH):
            os.rename(temporary, path)  # noqa: PTH104 - as below
            _seal(descriptor)
        remember(self._verified, digest, _state(os.fstat(descriptor)))
        if self._sync:
            _sync_folder(str(path.parent))
            remember(self._synced, digest, None)

    def get(self, digest: bytes, *, private: bool = False) -> memoryview:
        """Return the content as a view of the mapped file.

        Args:
            digest: As :meth:`put` returned it.
            private: Whether the view may be written to: the system then copies the pages that are,
                and nobody else sees it.

        Raises:
            BlobMissingError: There is no such blob.
            BlobCorruptError: Its bytes are not those that were stored. Looked at when this process
                first reads a blob, unless that would take long and nobody has written to it.
            StorageError: It exists but cannot be read.
        """
        path = self._path(digest)
        try:
            view, status = _mapped(path, digest, private)
        except FileNotFoundError:
            raise self._missing(digest) from None
        except OSError as error:
            raise StorageError(
                f"blob {path} cannot be read: {error.strerror or error}",
                hint="allow this process more open files: ulimit -n"
                if error.errno == errno.EMFILE
                else f"check the permissions of {self._folder}",
            ) from error
        if len(view) <= _VERIFIED_BYTES or status.st_mtime_ns != _SEALED:
            self._verify(digest, view, status)
        return view

    def open(self, digest: bytes) -> IO[bytes]:
        """Open the content for reading: all of it is going to be read, so it is looked at first.

        Raises:
            BlobMissingError: There is no such blob.
            BlobCorruptError: Its bytes are not those that were stored.
            StorageError: It exists but cannot be read.
        """
        self.verify(digest)
        return open(self._path(digest), "rb")  # noqa: PTH123 - as below

    def verify(self, digest: bytes) -> None:
        """See whether a blob is whole, whatever its size; known from then on in this process.

        Raises:
            BlobMissingError: There is no such blob.
            BlobCorruptError: Its bytes are not those that were stored.
            StorageError: It exists but cannot be read.
        """
        view = self.get(digest)
        if len(view) > _VERIFIED_BYTES:
            self._verify(digest, view, os.stat(self._path(digest)))  # noqa: PTH116 - as below

    def _verify(self, digest: bytes, view: memoryview, status: os.stat_result) -> None:
        state = _state(status)
        if self._verified.get(digest) == state:
            return
        if blake3_of([view]) != digest:
            raise self._damaged(digest, len(view))
        remember(self._verified, digest, state)

    def _damaged(self, digest: bytes, size: int) -> BlobCorruptError:
        return BlobCorruptError(
            f"blob {digest.hex()} is damaged: the {size:,} bytes of {self._path(digest)} are not "
            "those that were stored",
            hint=f"restore it from a copy, or delete it and {_ANEW}",
        )

    def drop(self, digest: bytes) -> None:
        """Remove a blob, if it is there. Whoever has mapped it keeps it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(digest))  # noqa: PTH108 - as below

    def where(self, digest: bytes) -> str:
        """Return the path under which the blob is, or would be, stored."""
        return self._path(digest)

    def is_whole(self, digest: bytes) -> bool:
        """Whether the blob is stored, and is what was stored; a damaged one is removed.

        It would otherwise stand in the way of the same content being stored again.
        """
        try:
            self.keep(digest)
            self.get(digest)
        except BlobCorruptError:
            self.drop(digest)
            return False
        except BlobMissingError:
            return False
        return True

    def has(self, digest: bytes) -> bool:
        """Whether the blob is stored; if it is, as :meth:`keep`."""
        return self._is_kept(self._path(digest))

    def keep(self, digest: bytes) -> None:
        """Keep a blob from being collected for the next hour, although nothing may refer to it.

        Raises:
            BlobMissingError: There is no such blob.
            StorageError: It cannot be kept.
        """
        now = time.time()
        if self._kept.get(digest, 0.0) > now - _FRESH_SECONDS:
            return
        try:
            is_kept = self._is_kept(self._path(digest))
        except OSError as error:
            raise unwritable(error, self._path(digest), 0, self._folder) from error
        if not is_kept:
            raise self._missing(digest)
        remember(self._kept, digest, now)

    def clean(self) -> None:
        """Remove what writers left behind that died, more than a day ago, while they wrote."""
        folder = Path(self._folder)
        for stale in (*folder.glob(f"{TEMPORARY}*"), *folder.glob(f"*/{TEMPORARY}*")):
            with contextlib.suppress(OSError):
                if stale.stat().st_mtime < time.time() - _STALE_SECONDS:
                    stale.unlink()

    def _missing(self, digest: bytes) -> BlobMissingError:
        return BlobMissingError(
            f"blob {digest.hex()} is not in {self._folder}",
            hint=f"was the folder cleaned or only partly copied? Restore it, or {_ANEW}",
        )

    def _path(self, digest: bytes) -> str:
        name = digest.hex()
        return f"{self._folder}/{name[:2]}/{name[2:]}"

    def _is_kept(self, path: str, size: int | None = None) -> bool:
        """Whether a blob is there, and from now on fresh.

        With a size: also whether it need not be stored again, as it was not cut short by a power
        loss, and nobody has written to it.
        """
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path per call costs more
            if size is not None and (found.st_size, found.st_mtime_ns) != (size, _SEALED):
                return False
            if found.st_atime < time.time() - _FRESH_SECONDS:
                with held(self._folder, fcntl.LOCK_SH):
                    os.utime(path, ns=(time.time_ns(), found.st_mtime_ns))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _write(self, path: str, views: list[memoryview]) -> None:
        folder = os.path.dirname(path)  # noqa: PTH120 - as above
        if not os.path.isdir(folder):  # noqa: PTH112 - as above
            self._make(Path(folder))
        temporary = f"{folder}/{TEMPORARY}{os.getpid()}-{os.urandom(8).hex()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, READ_ONLY)
        try:
            _fill(descriptor, views, sync=self._sync)
            with held(self._folder, fcntl.LOCK_SH):
                os.rename(temporary, path)  # noqa: PTH104 - as above
                _seal(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - as above
            raise
        finally:
            os.close(descriptor)
        if self._sync:
            _sync_folder(folder)

    def _make(self, folder: Path) -> None:
        """Make a blob folder, durably. There are only 256 of them: a good time to clean up, too."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._sync:
            _sync_folder(self._folder)
        self.clean()


class _Mapping(mmap.mmap):
    """A mapped blob. No process can write to it, so it stays what its digest says."""

    digest: bytes


def _mapped(path: str, digest: bytes, private: bool) -> tuple[memoryview, os.stat_result]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            status = os.fstat(file.fileno())
            # an empty file cannot be mapped
            view = _map(file.fileno(), digest, private) if status.st_size else memoryview(b"")
    except OSError as error:
        if error.errno == errno.EMFILE and _allow_more_files():
            return _mapped(path, digest, private)
        raise
    return view, status


def _allow_more_files() -> bool:
    """Double the number of files this process may open; a mapping counts as one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    more = 2 * soft if hard == resource.RLIM_INFINITY else min(2 * soft, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
    except (OSError, ValueError):  # the kernel has a limit of its own
        return False
    return more > soft


def _map(descriptor: int, digest: bytes, private: bool) -> memoryview:
    if private:
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
    mapping = _Mapping(descriptor, 0, access=mmap.ACCESS_READ)
    mapping.digest = digest
    return memoryview(mapping)


def _known_digest(views: list[memoryview]) -> bytes:
    """Return the digest that the content had when it was read, if it is a whole mapped blob."""
    if len(views) == 1:
        source = views[0].obj
        if isinstance(source, _Mapping) and len(views[0]) == len(source):
            return source.digest
    return b""


def _state(status: os.stat_result) -> tuple[int, int, int]:
    """Return what would be another if the file had been written to."""
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def remember(known: dict[bytes, _T], digest: bytes, what: _T) -> None:
    """Add to what is known of some blobs; a great many are forgotten all at once."""
    if len(known) >= _REMEMBERED:
        known.clear()
    known[digest] = what


def _fill(descriptor: int, views: list[memoryview], *, sync: bool) -> None:
    """Write ``views`` one after the other; with ``sync`` they are on disk afterwards."""
    offset = begun = 0
    for view in views:
        rest = view
        while rest:
            written = os.write(descriptor, rest[:WRITE_CHUNK])
            rest = rest[written:]
            offset += written
            if sync and offset - begun >= WRITE_CHUNK:
                begin_writeback(descriptor, begun, offset - begun)
                begun = offset
    if sync:
        os.fsync(descriptor)


def _seal(descriptor: int) -> None:
    """Mark a file as written, for good, and as wanted now.

    Without the first mark, it is only looked at once more.
    """
    os.utime(descriptor, ns=(time.time_ns(), _SEALED))


def _sync_stored(path: str) -> None:
    """See to it that a blob found in the store is on disk.

    Its writer may still be about to sync its folder, or may be one that never syncs.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync_folder(os.path.dirname(path))  # noqa: PTH120 - as above


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
