"""The files of this machine as a store: keys are absolute paths."""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from perdure.errors import ConfigurationError, FileMissingError, StorageAccessError, StorageError

PIECE_BYTES = 4 << 20
"""Bytes that are read at a time: enough to be hashed by several cores, few enough to be kept."""


class Files:
    """The store of local files."""

    def size(self, key: str) -> int | None:
        """Return the size of a file; None if there is none."""
        try:
            status = Path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise explained(error, key, "read") from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def read(self, key: str) -> Iterator[memoryview]:
        """Yield the bytes of a file."""
        try:
            with open_regular(key) as file:
                yield from pieces(file)
        except OSError as error:
            raise explained(error, key, "read") from error

    def write(self, key: str, content: Path | bytes) -> None:
        """Write a file, the folders above it included."""
        target = Path(key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as file:
                if isinstance(content, Path):
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file, PIECE_BYTES)
                else:
                    file.write(content)
        except OSError as error:
            raise explained(error, key, "written") from error

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the files below a folder. Links to folders are followed, but never in circles.

        Raises:
            FileMissingError: There is no such folder.
        """
        try:
            if not stat.S_ISDIR(Path(prefix).stat().st_mode):
                raise ConfigurationError(
                    f"{prefix} is not a folder", hint="use perdure.io.File for a single file"
                )
            yield from _below(prefix, ())
        except OSError as error:
            raise explained(error, prefix, "read") from error


def _below(folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    status = Path(folder).stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _below(entry.path, (*above, here))
            else:
                yield entry.path


def open_regular(path: str | Path) -> IO[bytes]:
    """Open a file for reading: not a folder, nor anything that has no end.

    Raises:
        OSError: It cannot be read.
        ConfigurationError: It is something else than a file.
    """
    # without O_NONBLOCK, opening a pipe waits for its writer
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind, hint = (
            ("a folder", "use perdure.io.Dir for folders")
            if stat.S_ISDIR(mode)
            else ("no regular file", "copy what it yields to a file first")
        )
        raise ConfigurationError(f"{path} is {kind}", hint=hint)
    return os.fdopen(descriptor, "rb", buffering=0)


def pieces(file: IO[bytes]) -> Iterator[memoryview]:
    """Yield what is left in an open file, in one buffer that is used again and again."""
    size = os.fstat(file.fileno()).st_size
    buffer = memoryview(bytearray(min(size + 1, PIECE_BYTES)))  # most files are small
    while count := file.readinto(buffer):  # type: ignore[attr-defined]  # it is a raw file
        yield buffer[:count]


@contextlib.contextmanager
def whole(target: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that gets its name once it is complete, or leaves no trace."""
    temporary = target.with_name(f".tmp-{os.getpid()}-{os.urandom(8).hex()}")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def explained(error: OSError, path: str | Path, verb: str) -> StorageError:
    """Return what to raise for a file that could not be read, or written, as ``verb`` says."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return FileMissingError(
            f"there is no {path}",
            hint="check the path; relative ones begin in the folder the program was started from",
        )
    if isinstance(error, PermissionError):
        return StorageAccessError(
            f"{path} cannot be {verb}: {error.strerror}", hint="check the permissions, and who runs"
        )
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageError(
        f"{path} cannot be {verb}: {error.strerror or error}",
        hint="free some space" if full else "look whether the disk it is on is in order",
    )
