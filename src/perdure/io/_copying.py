"""Moving content between places and blobs, a few megabytes at a time."""

import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from perdure._ports import Blobs
from perdure._storage.files import PIECE_BYTES, explained, whole
from perdure._storage.location import Location, locate
from perdure._storage.store import Store, open_store
from perdure.io._hashing_io import HashMethod

Stored = tuple[bytes, int]
"""The digest and the size of a blob."""

_PARALLEL = 8

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def copy_in(
    place: Location, blobs: Blobs, hasher: HashMethod | None = None, *, store: Store | None = None
) -> Stored:
    """Store what is at a place.

    Raises:
        FileMissingError: There is nothing.
        StorageError: It cannot be read or stored.
    """
    sink = blobs.create()
    try:
        for piece in (store or open_store(place)).read(place.path):
            if hasher is not None:
                hasher.update(piece)
            sink.write(piece)
        return sink.commit()
    finally:
        sink.abort()


def copy_over(digest: bytes, source: Blobs, target: Blobs) -> None:
    """Store a blob of one store in another one, too."""
    if source is target or target.has(digest):
        return
    sink = target.create()
    try:
        with source.open(digest) as content:
            while piece := content.read(PIECE_BYTES):
                sink.write(piece)
        sink.commit()
    finally:
        sink.abort()


def copy_out(digest: bytes, blobs: Blobs, target: Path) -> None:
    """Write a blob to a file of the user, which has its name once it is complete.

    Raises:
        StorageError: It cannot be had or written.
    """
    with blobs.open(digest) as content:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as file:
                shutil.copyfileobj(content, file, PIECE_BYTES)
        except OSError as error:
            raise explained(error, target, "written") from error


def link_out(digest: bytes, blobs: Blobs, target: Path) -> None:
    """Let a blob be read under another name: a link to it, or a copy if it is not local.

    Raises:
        StorageError: It cannot be had.
    """
    place = locate(blobs.where(digest))
    if not place.is_local or not Path(place.path).is_file():
        copy_out(digest, blobs, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(place.path)


def in_parallel(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return the results in order; the first failure calls off what has not begun."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(function, items))
