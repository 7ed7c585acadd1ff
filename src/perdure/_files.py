"""Files that are there whole or not at all, and folders as trees: to sync, to measure, to remove.

What must not be seen half written is filled under a temporary name, synced, then renamed: whoever
looks, and whatever crashes, finds what was there before or what is there now.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"
"""How the names begin of what is not finished yet."""


def temporary(folder: Path) -> Path:
    """Return a new name in ``folder`` for what is not finished yet; it tells whose it is."""
    return folder / f"{TEMPORARY}{os.getpid()}-{os.urandom(8).hex()}"


@contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """Give a new name in ``folder``; what is there when the block ends, or fails, is removed.

    The block renames what it has finished.
    """
    path = temporary(folder)
    try:
        yield path
    finally:
        remove(path)


def write(path: Path, content: bytes, *, sync: bool) -> None:
    """Put ``content`` under ``path``, in place of what was there, atomically.

    Args:
        path: The file; the folders above it are made if missing.
        content: All of it.
        sync: Whether it must survive power loss.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft(path.parent) as unfinished:
        unfinished.write_bytes(content)
        if sync:
            sync_path(unfinished)
        unfinished.rename(path)
    if sync:
        sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Have a file, or the names in a folder, written to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Have everything at and below ``path`` written to disk."""
    for folder, _, files in os.walk(path):
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                sync_path(file)
        sync_path(Path(folder))
    if path.is_file():
        sync_path(path)


def sync_filesystem(folder: Path) -> None:
    """Have everything written to disk that is on the same file system as ``folder``.

    For a tree of thousands of small files it is much faster than one after the other.
    """
    import ctypes

    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):  # not Linux
        sync_tree(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a tree, if it is there; somebody else may be doing the same."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()


def size(path: Path) -> int:
    """Return how many bytes the files at and below ``path`` take on disk; 0 if nothing is there."""
    total = 0
    with contextlib.suppress(OSError):
        total += _allocated(path.lstat())
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):  # it was removed while we looked
                total += _allocated(os.lstat(os.path.join(folder, name)))  # noqa: PTH118 - many
    return total


def _allocated(status: os.stat_result) -> int:
    return status.st_blocks * 512
