"""A store: bytes by key. What it takes from a place, however far away, is these four operations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from perdure._storage.location import Location


class Store(Protocol):
    """A place for bytes: all of a bucket, or all of this machine's files.

    Every operation raises the errors of ``perdure.errors``: :class:`FileMissingError`,
    :class:`StorageAccessError`, :class:`StorageUnavailableError`, or :class:`StorageError` itself.
    """

    def size(self, key: str) -> int | None:
        """Return how many bytes there are under a key; None if there is no such key."""

    def read(self, key: str) -> Iterator[memoryview]:
        """Yield the bytes under a key in order, each piece valid until the next is asked for."""

    def write(self, key: str, content: Path | bytes) -> None:
        """Store bytes, or those of a file, under a key: all of them or, if this fails, none."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder, its own subfolders included, in no particular order."""


def open_store(location: Location) -> Store:
    """Return the store that holds a place; the keys in it are the paths of locations.

    Raises:
        ConfigurationError: What speaks to such stores is not installed.
    """
    if location.is_local:
        from perdure._storage.files import Files

        return Files()
    from perdure._storage.objects import Objects

    return Objects(location.scheme, location.bucket)
