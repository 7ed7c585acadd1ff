"""Blobs that calls refer to by digest, put aside until somebody is going to read them."""

from perdure._blobs.hashing import blake3_of
from perdure._ports import Blobs
from perdure.errors import BlobMissingError


class Aside:
    """Data of this process that others read as blobs: stored when it is first of use."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}
        self._stored: set[bytes] = set()

    def __getitem__(self, key: bytes) -> bytes:
        return self._data[key]

    def put(self, data: bytes) -> bytes:
        """Remember the data; return the key of the blob that it will be."""
        key = blake3_of([data])
        self._data[key] = data
        return key

    def store(self, key: bytes, blobs: Blobs) -> None:
        """See to it that the blob is there."""
        if key in self._stored:
            try:
                blobs.keep(key)
                return
            except BlobMissingError:  # nothing has referred to it for long
                pass
        blobs.put([self._data[key]])
        self._stored.add(key)
