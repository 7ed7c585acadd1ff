"""The blobs that settings ask for."""

from pathlib import Path

from perdure._blobs.local import LocalBlobs
from perdure._ports import Blobs


def open_blobs(folder: Path, storage: str = "", *, sync: bool = True) -> Blobs:
    """Return the blobs of a home.

    Args:
        folder: Its folder for blobs: where they are, or where copies of them are kept.
        storage: URL of where they are; "" means the folder.
        sync: Whether a stored blob must survive power loss.

    Raises:
        ConfigurationError: The URL makes no sense, or what it needs is not installed.
    """
    if not storage:
        return LocalBlobs(folder, sync=sync)
    from perdure._storage.location import locate
    from perdure._storage.store import open_store

    place = locate(storage)
    if place.is_local:
        return LocalBlobs(Path(place.path), sync=sync)
    from perdure._blobs.remote import RemoteBlobs

    return RemoteBlobs(open_store(place), place, folder)
