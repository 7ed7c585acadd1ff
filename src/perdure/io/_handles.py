"""What ``File.open`` gives: files like those of Python, and their awaitable form."""

import contextlib
import io
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO, Any, NamedTuple

from perdure._ports import Sink
from perdure._storage.files import PIECE_BYTES
from perdure.client.twofold import on_thread
from perdure.errors import ConfigurationError, NotSupportedError
from perdure.io._hashing_io import HashMethod

_BUFFER_BYTES = 1 << 20
_MANY_BYTES = 1 << 20  # moving more than this takes long enough for others to have a turn
_TEXT = frozenset({"encoding", "errors", "newline"})


class Mode(NamedTuple):
    """How a file is opened.

    Attributes:
        kind: ``r``, ``w`` or ``a``.
        text: Whether it is text.
        options: What ``open`` takes for text: encoding, errors, newline.
        buffer: Bytes that are gathered.
    """

    kind: str
    text: bool
    options: dict[str, Any]
    buffer: int


def mode_of(
    mode: str, block_size: int | None, compression: str | None, options: dict[str, Any]
) -> Mode:
    """Return what was asked for.

    Raises:
        ConfigurationError: There is no such mode.
        NotSupportedError: An option that has no meaning here.
    """
    kind = mode.replace("b", "", 1).replace("t", "", 1)
    if kind not in ("r", "w", "a") or ("b" in mode and "t" in mode):
        raise ConfigurationError(
            f"a file cannot be opened with mode {mode!r}",
            hint="use r or rb to read, w or wb to write, a or ab to add to it",
        )
    if compression is not None:
        raise NotSupportedError(
            f"File.open(compression={compression!r}) is not supported",
            hint="open it as bytes, and give that to gzip.open, bz2.open or zipfile.ZipFile",
        )
    text = "b" not in mode
    if unknown := options.keys() - (_TEXT if text else ()):
        raise NotSupportedError(
            f"File.open({', '.join(sorted(unknown))}=...) is not supported with mode {mode!r}",
            hint="leave it out",
        )
    return Mode(kind, text, options, block_size or _BUFFER_BYTES)


@contextlib.contextmanager
def reading(content: IO[bytes], mode: Mode) -> Iterator[IO[Any]]:
    """Give a stored file to its reader."""
    with io.TextIOWrapper(content, **mode.options) if mode.text else content as handle:
        yield handle


@contextlib.contextmanager
def writing(
    sink: Sink, mode: Mode, hasher: HashMethod | None, before: IO[bytes] | None
) -> Iterator[IO[Any]]:
    """Give what fills a sink to a writer; the content is complete when the block has ended well.

    Args:
        sink: What is filled.
        mode: How it is opened.
        hasher: Reads along.
        before: Content that comes first.
    """
    raw = _SinkFile(sink, hasher)
    buffer = io.BufferedWriter(raw, mode.buffer)
    handle = io.TextIOWrapper(buffer, **mode.options) if mode.text else buffer
    try:
        if before is not None:
            shutil.copyfileobj(before, raw, PIECE_BYTES)
        yield handle
        handle.close()
    except BaseException:
        with contextlib.suppress(Exception):
            handle.close()
        sink.abort()
        raise


class _SinkFile(io.RawIOBase):
    """A sink as a file: it is written from its beginning to its end."""

    def __init__(self, sink: Sink, hasher: HashMethod | None) -> None:
        self._sink = sink
        self._hasher = hasher
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if self._hasher is not None:
            self._hasher.update(data)
        count = self._sink.write(data)
        self._position += count
        return count

    def tell(self) -> int:
        return self._position


class AsyncFile:
    """An open file whose methods are awaitable.

    Its content is on this machine by now, so only moving a lot of it takes long enough for other
    tasks to have a turn meanwhile.
    """

    def __init__(self, handle: IO[Any]) -> None:
        self._handle = handle

    async def read(self, size: int | None = -1) -> Any:
        """Return so many bytes or characters, or all that is left."""
        if size is None or size < 0 or size > _MANY_BYTES:
            return await on_thread(lambda: self._handle.read(-1 if size is None else size))
        return self._handle.read(size)

    async def readline(self) -> Any:
        """Return the next line."""
        return self._handle.readline()

    async def readlines(self) -> list[Any]:
        """Return all lines that are left."""
        return await on_thread(self._handle.readlines)

    async def write(self, data: Any) -> int:
        """Add to the content; return how many bytes or characters that were."""
        if len(data) > _MANY_BYTES:
            return await on_thread(lambda: self._handle.write(data))
        return self._handle.write(data)

    async def writelines(self, lines: Iterable[Any]) -> None:
        """Add several pieces to the content."""
        self._handle.writelines(lines)

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Go to another place; only while reading."""
        return self._handle.seek(offset, whence)

    async def tell(self) -> int:
        """Return the present place."""
        return self._handle.tell()

    async def flush(self) -> None:
        """Hand on what has been gathered."""
        self._handle.flush()

    async def close(self) -> None:
        """Be done with it; what was written is stored at the end of the ``async with`` block."""
        self._handle.close()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        line = self._handle.readline()
        if not line:
            raise StopAsyncIteration
        return line


class AsyncOpened:
    """``async with file.open(...)``: fetching and storing happen beside the event loop."""

    def __init__(self, opened: AbstractContextManager[IO[Any]]) -> None:
        self._opened = opened

    async def __aenter__(self) -> AsyncFile:
        return AsyncFile(await on_thread(self._opened.__enter__))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await on_thread(lambda: self._opened.__exit__(kind, error, traceback))
