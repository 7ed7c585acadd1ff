"""Folders as values."""

import fnmatch
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure._ports import Blobs
from perdure._storage.location import Location, inside, locate
from perdure._storage.store import open_store
from perdure.client.twofold import on_thread
from perdure.errors import ConfigurationError, FileMissingError, NotSupportedError
from perdure.io import _surroundings
from perdure.io._copying import copy_in, copy_out, copy_over, in_parallel, link_out
from perdure.io._file import File
from perdure.io._reference import Reference, T, refuse

if TYPE_CHECKING:
    from typing import Self

Entry = tuple[str, bytes, int]
"""A file of a folder: its relative path, its digest, its size."""


class Dir(Reference[T]):
    """A folder, passed by reference and known by its content.

    Making one copies all its files into storage, those of its subfolders included: afterwards the
    original may be changed or removed. Folders are equal if their files have the same relative
    paths and equal content. Links are followed; empty folders are left out.

    Args:
        path: A local folder, copied now, or the URL of objects, copied when they are first needed.
        name: What it is called; by default the last part of the path.
        format: A label of your own.
        hash: What stands for the content when values are compared.

    Attributes:
        name: What it is called; a label.
        format: A label of your own.
        hash: What stands for its content if its maker said so, else None.
    """

    _perdure_advice = "write Dir.from_local_sync(...)"
    _shown: Path | None = None  # where its files were made readable, for `path`

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        format: str = "",  # noqa: A002  # Flyte's
        hash: str | None = None,  # noqa: A002
    ) -> None:
        place = locate(path)
        super().__init__(name or place.name, format, hash)
        self._content: tuple[Entry, ...] | None = None
        self._source = place
        if place.is_local and Path(place.path).is_dir():
            self._stored()

    # --- making one -------------------------------------------------------------------------------

    @classmethod
    def from_local_sync(
        cls,
        local_path: str | os.PathLike[str],
        remote_destination: str | None = None,
        dir_cache_key: str | None = None,
        **flyte_options: Any,
    ) -> "Self":
        """Copy a local folder into storage.

        Args:
            local_path: Where it is.
            remote_destination: Path or URL of another place to copy it to as well.
            dir_cache_key: What stands for its content when values are compared.
            **flyte_options: Flyte 2's other options are refused by name.

        Raises:
            FileMissingError: There is no such folder.
            StorageError: Something in it cannot be read or stored.
        """
        refuse("Dir.from_local", flyte_options)
        place = locate(local_path)
        folder = cls(place.url, hash=dir_cache_key)
        entries = folder._stored()
        if remote_destination is not None:
            target = locate(remote_destination)
            store = open_store(target)
            in_parallel(
                lambda entry: store.write(
                    target.below(entry[0]).path, Path(place.below(entry[0]).path)
                ),
                entries,
            )
        return folder

    @classmethod
    async def from_local(
        cls,
        local_path: str | os.PathLike[str],
        remote_destination: str | None = None,
        dir_cache_key: str | None = None,
        **flyte_options: Any,
    ) -> "Self":
        """Copy a local folder into storage: the awaitable form of :meth:`from_local_sync`."""
        return await on_thread(
            lambda: cls.from_local_sync(
                local_path, remote_destination, dir_cache_key, **flyte_options
            )
        )

    @classmethod
    def from_existing(cls, path: str, dir_cache_key: str | None = None) -> "Self":
        """Refer to a folder, or to the objects below a URL, that exist.

        A local folder is copied into storage now, objects when they are first needed: from then on,
        this is what they were at that moment.

        Args:
            path: Path or URL.
            dir_cache_key: What stands for the content when values are compared.
        """
        return cls(path, hash=dir_cache_key)

    from_existing_remote = from_existing

    @classmethod
    def empty(cls) -> "Self":
        """Return a folder without files, which says that there is none."""
        return cls._restored((), ("", "", None), None)

    @classmethod
    def new_remote(cls, dir_name: str | None = None, hash: str | None = None) -> "Self":  # noqa: A002
        """Refuse: a folder is copied into storage as a whole."""
        raise NotSupportedError(
            "Dir.new_remote is not supported",
            hint="write into a local folder (tempfile.mkdtemp()), then Dir.from_local(folder)",
        )

    @classmethod
    def _restored(
        cls, entries: tuple[Entry, ...], labels: tuple[str, str, str | None], blobs: Blobs | None
    ) -> "Self":
        """Return a folder that is stored; ``labels`` are its name, format and hash."""
        folder = cls.__new__(cls)
        Reference.__init__(folder, *labels)
        folder._content = entries
        folder._home = blobs
        return folder

    @classmethod
    def _at(cls, path: str | os.PathLike[str]) -> "Self":
        return cls(path)

    # --- what is in it ----------------------------------------------------------------------------

    @property
    def paths(self) -> tuple[str, ...]:
        """The relative paths of its files, in order."""
        return tuple(path for path, _, _ in self._stored())

    @property
    def size(self) -> int:
        """How many bytes its files have together."""
        return sum(size for _, _, size in self._stored())

    @property
    def is_empty(self) -> bool:
        """Whether it has no files."""
        return not self._stored()

    @property
    def path(self) -> str:
        """A local folder with its files, to be read only; where it is from, if that was not copied.

        It is made when it is first asked for, of links to where the files are stored (of copies, if
        that is a bucket), and goes when the attempt of the task has ended.
        """
        if self._content is None and self._source is not None:
            return self._source.path if self._source.is_local else self._source.url
        if self._shown is None or not self._shown.is_dir():
            self._shown = self._linked()
        return str(self._shown)

    async def exists(self) -> bool:
        """Whether its files are there: the awaitable form of :meth:`exists_sync`."""
        return await on_thread(self.exists_sync)

    def exists_sync(self) -> bool:
        """Whether all its files are there."""
        try:
            return all(self._blobs.has(digest) for _, digest, _ in self._stored())
        except FileMissingError:
            return False

    def walk_sync(
        self, recursive: bool = True, file_pattern: str = "*", max_depth: int | None = None
    ) -> Iterator[File[T]]:
        """Yield its files, in the order of their paths.

        Args:
            recursive: Whether those of subfolders, too.
            file_pattern: Only files whose name matches, e.g. ``*.csv``.
            max_depth: Only files so many levels down; 1 means those of the folder itself.
        """
        deepest = max_depth if recursive else 1
        for entry in self._stored():
            parts = entry[0].split("/")
            if deepest is not None and len(parts) > deepest:
                continue
            if fnmatch.fnmatchcase(parts[-1], file_pattern):
                yield self._file(entry)

    async def walk(
        self, recursive: bool = True, max_depth: int | None = None, file_pattern: str = "*"
    ) -> AsyncIterator[File[T]]:
        """Yield its files: the awaitable form of :meth:`walk_sync`."""
        await on_thread(self._stored)
        for file in self.walk_sync(recursive, file_pattern, max_depth):
            yield file

    async def list_files(self) -> list[File[T]]:
        """Return the files of the folder itself: the awaitable form of :meth:`list_files_sync`."""
        await on_thread(self._stored)
        return self.list_files_sync()

    def list_files_sync(self) -> list[File[T]]:
        """Return the files of the folder itself, without those of subfolders."""
        return list(self.walk_sync(recursive=False))

    async def get_file(self, file_name: str) -> File[T] | None:
        """Return a file of the folder: the awaitable form of :meth:`get_file_sync`."""
        await on_thread(self._stored)
        return self.get_file_sync(file_name)

    def get_file_sync(self, file_name: str) -> File[T] | None:
        """Return the file of that relative path; None if there is none.

        Raises:
            ConfigurationError: The path leads out of the folder.
        """
        path = inside(file_name)
        found = (entry for entry in self._stored() if entry[0] == path)
        return next(map(self._file, found), None)

    async def download(self, local_path: str | os.PathLike[str] | None = None) -> str:
        """Write all files to a local folder: the awaitable form of :meth:`download_sync`."""
        return await on_thread(lambda: self.download_sync(local_path))

    def download_sync(self, local_path: str | os.PathLike[str] | None = None) -> str:
        """Write all files to a local folder of your own, and return its absolute path.

        Args:
            local_path: The folder, made if missing; by default a temporary one, which is removed
                when the attempt of the task has ended.

        Raises:
            ConfigurationError: There is a file of that name.
            StorageError: The content cannot be had or written.
        """
        if local_path is None:
            target = _surroundings.scratch(self.name or "folder")
        else:
            target = Path(local_path).expanduser().absolute()
            if target.is_file():
                raise ConfigurationError(f"{target} is a file", hint="give a folder, or a new name")
        target.mkdir(parents=True, exist_ok=True)
        blobs = self._blobs
        in_parallel(
            lambda entry: copy_out(entry[1], blobs, target / inside(entry[0])), self._stored()
        )
        return str(target)

    # --- its content ------------------------------------------------------------------------------

    def _file(self, entry: Entry) -> File[T]:
        path, digest, size = entry
        labels = (path.rpartition("/")[2], self.format, None)
        return File._restored((digest, size), labels, self._home)

    def _linked(self) -> Path:
        """Return a new folder from which the files can be read."""
        target = _surroundings.scratch(self.name or "folder")
        target.mkdir(parents=True)
        in_parallel(
            lambda entry: link_out(entry[1], self._blobs, target / entry[0]), self._stored()
        )
        return target

    def _stored(self) -> tuple[Entry, ...]:
        """Return its files; copies what is still to be copied."""
        if self._content is None:
            assert self._source is not None
            self._content = _copied(self._source, self._blobs)
            self._source = None
        return self._content

    def _stored_in(self, blobs: Blobs) -> tuple[Entry, ...]:
        """Return its files, after seeing to it that these blobs have them."""
        if self._content is None:
            self._home = blobs
        entries = self._stored()
        if entries and self._blobs is not blobs:
            in_parallel(lambda entry: copy_over(entry[1], self._blobs, blobs), entries)
        return entries

    def _identity(self) -> object:
        return self.hash or self._stored()

    def __repr__(self) -> str:
        if self._content is None:
            return f"<Dir {self.name!r}, at {self.path}>"
        return f"<Dir {self.name!r}, {len(self._content):,} files, {self.size:,} bytes>"


def _copied(source: Location, blobs: Blobs) -> tuple[Entry, ...]:
    """Store all files below a place; return them in the order of their paths."""
    store = open_store(source)
    above = source.path.rstrip("/")
    keys = [(key.removeprefix(above).lstrip("/"), key) for key in store.keys(above)]
    if not keys and not source.is_local:
        raise FileMissingError(
            f"there is nothing below {source.url}", hint="check the URL; keys are case-sensitive"
        )

    def copy(item: tuple[str, str]) -> Entry:
        relative, key = item
        return (_text(relative), *copy_in(source._replace(path=key), blobs, store=store))

    return tuple(sorted(in_parallel(copy, sorted(keys))))


def _text(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"the name of the file {path!r} is not text", hint="rename it, or leave it out"
        ) from None
    return path


Dir.__module__ = "perdure.io"
