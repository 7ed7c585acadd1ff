"""Blobs in a bucket, read through a folder of this machine.

The object of digest ``abcdef...`` is ``<path>/ab/cdef...``: a folder of local blobs that is copied
to a bucket is a store. What is stored is first a file of the local folder, then an object: when
``put`` returns, the object is complete, so that an outcome never refers to what is not there (P1).
What is read becomes a file of the local folder, too, checked against its digest before it gets its
name, and is mapped from there by every process of the machine. The folder may be emptied at any
time; files in it that are damaged are fetched again.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from perdure._blobs.local import LocalBlobs, remember
from perdure._blobs.sink import LocalSink
from perdure._storage.location import Location
from perdure._storage.store import Store
from perdure.errors import BlobCorruptError, BlobMissingError, FileMissingError

_ASKED_BYTES = 1 << 20
"""Storing less than this again takes no longer than asking whether it is there."""


class RemoteBlobs:
    """The Blobs port over a bucket.

    Args:
        store: The store the bucket is in.
        place: What all objects are below.
        folder: Copies of what was stored and read, on this machine.
    """

    def __init__(self, store: Store, place: Location, folder: Path) -> None:
        self._store = store
        self._place = place
        self._folder = folder
        self._near = LocalBlobs(folder, sync=False)  # what must survive is in the bucket
        self._stored: dict[bytes, None] = {}

    def put(self, parts: Sequence[bytes | memoryview]) -> bytes:
        """Store the concatenation of ``parts`` if absent; return its 32-byte digest.

        Raises:
            StorageError: It cannot be stored, here or there.
        """
        digest = self._near.put(parts)
        try:
            self._upload(digest)
        except BlobCorruptError:  # the file that was here before
            self._near.drop(digest)
            self._near.put(parts)
            self._upload(digest)
        return digest

    def create(self) -> LocalSink:
        """Begin a blob that is written piece by piece: here, from where it is stored at its end."""
        return LocalSink(str(self._folder), self._adopt, sync=False)

    def get(self, digest: bytes, *, private: bool = False) -> memoryview:
        """Return the content as a view of a mapped file, fetched if need be.

        Raises:
            BlobMissingError: There is no such blob.
            BlobCorruptError: The object's bytes are not those that were stored.
            StorageError: It cannot be fetched.
        """
        try:
            return self._near.get(digest, private=private)
        except (BlobMissingError, BlobCorruptError) as error:
            self._fetch(digest, damaged=isinstance(error, BlobCorruptError))
            return self._near.get(digest, private=private)

    def open(self, digest: bytes) -> IO[bytes]:
        """Open the content for reading, fetched if need be.

        Raises:
            BlobMissingError: There is no such blob.
            BlobCorruptError: The object's bytes are not those that were stored.
            StorageError: It cannot be fetched.
        """
        try:
            return self._near.open(digest)
        except (BlobMissingError, BlobCorruptError) as error:
            self._fetch(digest, damaged=isinstance(error, BlobCorruptError))
            return self._near.open(digest)

    def has(self, digest: bytes) -> bool:
        """Whether the blob is stored: in the bucket, not only near."""
        return digest in self._stored or self._store.size(self._key(digest)) is not None

    def keep(self, digest: bytes) -> None:
        """Do nothing: what is in a bucket is not collected."""

    def is_whole(self, digest: bytes) -> bool:
        """Whether the blob is stored; whether it is whole is seen when it is fetched."""
        return self.has(digest)

    def where(self, digest: bytes) -> str:
        """Return the URL under which the blob is, or would be, stored."""
        return self._place._replace(path=self._key(digest)).url

    def _key(self, digest: bytes) -> str:
        name = digest.hex()
        return self._place.below(f"{name[:2]}/{name[2:]}").path

    def _adopt(self, digest: bytes, descriptor: int, temporary: str) -> None:
        self._near.adopt(digest, descriptor, temporary)
        self._upload(digest)

    def _upload(self, digest: bytes) -> None:
        if digest in self._stored:
            return
        key, path = self._key(digest), self._near.path(digest)
        size = path.stat().st_size
        if size < _ASKED_BYTES or self._store.size(key) != size:
            self._near.verify(digest)  # it may have lain there for long
            self._store.write(key, path)
        remember(self._stored, digest, None)

    def _fetch(self, digest: bytes, *, damaged: bool) -> None:
        with self._alone(digest):
            if damaged:
                self._near.drop(digest)
            elif self._near.has(digest):
                return  # whoever was here before has fetched it
            sink = self._near.create()
            try:
                for piece in self._store.read(self._key(digest)):
                    sink.write(piece)
                if sink.digest != digest:
                    raise BlobCorruptError(
                        f"blob {digest.hex()} is damaged: the bytes of {self.where(digest)} are "
                        "not those that were stored",
                        hint="restore it from a copy or an earlier version, or delete it and make "
                        "its value again: perdure rerun RUN --no-recover",
                    )
                sink.commit()
            except FileMissingError as error:
                raise BlobMissingError(
                    f"blob {self.where(digest)} is not there",
                    hint="was it deleted, or is PERDURE_STORAGE another than when it was stored?",
                ) from error
            finally:
                sink.abort()
        remember(self._stored, digest, None)

    @contextlib.contextmanager
    def _alone(self, digest: bytes) -> Iterator[None]:
        """Keep other processes and threads from fetching the same blob at the same time.

        The lock is one of 256, and ends with the process that holds it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / f".lock-{digest.hex()[:2]}", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
