"""Files as values."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from perdure._ports import Blobs
from perdure._storage.location import inside, locate
from perdure._storage.store import open_store
from perdure.client.twofold import on_thread
from perdure.io import _surroundings
from perdure.io._copying import Stored, copy_in, copy_out, copy_over
from perdure.io._handles import AsyncOpened, mode_of, reading, writing
from perdure.io._hashing_io import HashMethod
from perdure.io._reference import Reference, T, refuse, unwritten

if TYPE_CHECKING:
    from typing import Self


class File(Reference[T]):
    """A file, passed by reference and known by its content.

    Making one copies the file into storage: afterwards the original may be changed or removed.
    Files with equal content are equal, whatever they are called. ``File[...]`` says what is in it,
    to readers and type checkers only.

    Args:
        path: A local path, copied now, or the URL of an object, copied when it is first needed.
        name: What it is called; by default the last part of the path.
        format: A label of your own.
        hash: What stands for the content when values are compared, instead of all its bytes.

    Attributes:
        name: What it is called; a label.
        format: A label of your own.
        hash: What stands for its content if its maker said so, else None.
    """

    _perdure_advice = "write File.from_local_sync(...)"

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        format: str = "",  # noqa: A002  # Flyte's
        hash: str | None = None,  # noqa: A002
    ) -> None:
        place = locate(path)
        super().__init__(name or place.name, format, hash)
        self._content: Stored | None = None
        self._hasher: HashMethod | None = None
        self._source = place
        if place.is_local and open_store(place).size(place.path) is not None:
            self._stored()

    # --- making one -------------------------------------------------------------------------------

    @classmethod
    def from_local_sync(
        cls,
        local_path: str | os.PathLike[str],
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
        **flyte_options: Any,
    ) -> "Self":
        """Copy a local file into storage.

        Args:
            local_path: Where it is.
            remote_destination: Path or URL of another place to copy it to as well.
            hash_method: What stands for its content when values are compared, or what tells.
            **flyte_options: Flyte 2's other options are refused by name.

        Raises:
            FileMissingError: There is no such file.
            StorageError: It cannot be read or stored.
        """
        refuse("File.from_local", flyte_options)
        place = locate(local_path)
        file = cls._empty(place.name, hash_method)
        file._home = _surroundings.blobs()
        file._keep(copy_in(place, file._home, file._hasher))
        if remote_destination is not None:
            target = locate(remote_destination)
            open_store(target).write(target.path, Path(place.path))
        return file

    @classmethod
    async def from_local(
        cls,
        local_path: str | os.PathLike[str],
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
        **flyte_options: Any,
    ) -> "Self":
        """Copy a local file into storage: the awaitable form of :meth:`from_local_sync`."""
        return await on_thread(
            lambda: cls.from_local_sync(
                local_path, remote_destination, hash_method, **flyte_options
            )
        )

    @classmethod
    def from_existing(cls, path: str, file_cache_key: str | None = None) -> "Self":
        """Refer to a file or an object that exists.

        A local file is copied into storage now, an object when it is first opened, downloaded or
        passed to a task: from then on, this is what it was at that moment.

        Args:
            path: Path or URL.
            file_cache_key: What stands for its content when values are compared.
        """
        return cls(path, hash=file_cache_key)

    @classmethod
    def new(
        cls, file_name: str | None = None, hash_method: HashMethod | str | None = None
    ) -> "Self":
        """Return a file that is still to be written: ``with file.open_sync("wb") as f: ...``.

        Args:
            file_name: What it is called.
            hash_method: What stands for its content when values are compared, or what tells.
        """
        return cls._empty(inside(file_name) if file_name else "file", hash_method)

    from_existing_remote = from_existing
    new_remote = new

    @classmethod
    def named_remote(cls, name: str) -> "Self":
        """Return a file that is still to be written; the same as :meth:`new`."""
        return cls.new(name)

    @classmethod
    def _empty(cls, name: str, hash_method: HashMethod | str | None = None) -> "Self":
        file = cls.__new__(cls)
        given = hash_method if isinstance(hash_method, str) else None
        Reference.__init__(file, name, "", given)
        file._content = None
        file._hasher = None if isinstance(hash_method, str) else hash_method
        return file

    @classmethod
    def _restored(
        cls, content: Stored, labels: tuple[str, str, str | None], blobs: Blobs | None
    ) -> "Self":
        """Return a file that is stored; ``labels`` are its name, format and hash."""
        file = cls._empty(labels[0], labels[2])
        file.format = labels[1]
        file._content = content
        file._home = blobs
        return file

    @classmethod
    def _at(cls, path: str | os.PathLike[str]) -> "Self":
        return cls(path)

    # --- what it is -------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """The BLAKE3 digest of its content, in hexadecimal."""
        return self._stored()[0].hex()

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self._stored()[1]

    @property
    def path(self) -> str:
        """Where its content is: a path or a URL, to be read only."""
        if self._content is None and self._source is not None:
            return self._source.path if self._source.is_local else self._source.url
        return self._blobs.where(self._stored()[0])

    async def exists(self) -> bool:
        """Whether its content is there: the awaitable form of :meth:`exists_sync`."""
        return await on_thread(self.exists_sync)

    def exists_sync(self) -> bool:
        """Whether its content is there, and not deleted or still to be written."""
        if self._content is not None:
            return self._blobs.has(self._content[0])
        source = self._source
        return source is not None and open_store(source).size(source.path) is not None

    # --- reading and writing ----------------------------------------------------------------------

    def open(
        self,
        mode: str = "rb",
        block_size: int | None = None,
        cache_type: str = "readahead",
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **options: Any,
    ) -> AsyncOpened:
        """Open the file: ``async with file.open("rb") as f: data = await f.read()``.

        Args:
            mode: As for the built-in ``open``: ``r``, ``w`` or ``a``, and ``b`` for bytes.
            block_size: Bytes to gather before they are written.
            cache_type: Has nothing to do: by the time it is open, the content is on this machine.
            cache_options: Likewise.
            compression: Not supported: give the open file to ``gzip.open`` or the like.
            **options: For text: ``encoding``, ``errors``, ``newline``.
        """
        opened = self.open_sync(mode, block_size, cache_type, cache_options, compression, **options)
        return AsyncOpened(opened)

    @contextmanager
    def open_sync(
        self,
        mode: str = "rb",
        block_size: int | None = None,
        cache_type: str = "readahead",
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **options: Any,
    ) -> Iterator[IO[Any]]:
        """Open the file: ``with file.open_sync("rb") as f: data = f.read()``.

        What is written is stored when the block ends; if it ends with an error, the file is what it
        was before. Files are written from beginning to end.

        Args:
            mode: As for the built-in ``open``: ``r``, ``w`` or ``a``, and ``b`` for bytes.
            block_size: Bytes to gather before they are written.
            cache_type: Has nothing to do: by the time it is open, the content is on this machine.
            cache_options: Likewise.
            compression: Not supported: give the open file to ``gzip.open`` or the like.
            **options: For text: ``encoding``, ``errors``, ``newline``.

        Raises:
            StorageError: The content cannot be had or stored.
        """
        how = mode_of(mode, block_size, compression, options)
        if how.kind == "r":
            digest, _ = self._stored()
            with reading(self._blobs.open(digest), how) as handle:
                yield handle
            return
        adds = how.kind == "a" and (self._content or self._source)
        before = self._blobs.open(self._stored()[0]) if adds else None
        with before or nullcontext():
            sink = self._blobs.create()
            with writing(sink, how, self._hasher, before) as handle:
                yield handle
        self._keep(sink.commit())

    async def download(self, local_path: str | os.PathLike[str] | None = None) -> str:
        """Write the content to a local file: the awaitable form of :meth:`download_sync`."""
        return await on_thread(lambda: self.download_sync(local_path))

    def download_sync(self, local_path: str | os.PathLike[str] | None = None) -> str:
        """Write the content to a local file of your own, and return its absolute path.

        Args:
            local_path: The file, or a folder to put it in; by default a temporary one, which is
                removed when the attempt of the task has ended.

        Raises:
            StorageError: The content cannot be had or written.
        """
        if local_path is None:
            target = _surroundings.scratch(self.name)
        else:
            target = Path(local_path).expanduser().absolute()
            if target.is_dir() or os.fspath(local_path).endswith(os.sep):
                target /= self.name
        copy_out(self._stored()[0], self._blobs, target)
        return str(target)

    # --- its content ------------------------------------------------------------------------------

    def _stored(self) -> Stored:
        """Return its digest and size; copies what is still to be copied."""
        if self._content is None:
            if self._source is None:
                unwritten(self)
            self._keep(copy_in(self._source, self._blobs, self._hasher))
        assert self._content is not None
        return self._content

    def _keep(self, content: Stored) -> None:
        self._content, self._source = content, None
        if self._hasher is not None:
            self.hash = self._hasher.result()

    def _stored_in(self, blobs: Blobs) -> Stored:
        """Return its digest and size, after seeing to it that these blobs have it."""
        if self._content is None:
            self._home = blobs
        content = self._stored()
        copy_over(content[0], self._blobs, blobs)
        return content

    def _identity(self) -> object:
        if self._content is None and self._source is None:
            return id(self)
        return self.hash or self._stored()[0]

    def __repr__(self) -> str:
        if self._content is None:
            state = "still to be written" if self._source is None else f"at {self.path}"
            return f"<File {self.name!r}, {state}>"
        return f"<File {self.name!r}, {self.size:,} bytes, {self.digest[:12]}>"


File.__module__ = "perdure.io"
