"""``perdure.ctx().checkpoint``: what an action keeps for its next attempt.

Layout. The folder of an action holds ``path/``, which belongs to the user, and numbered versions of
what was saved. A version is a folder with the digest of what was saved, and one more entry, named
after what that is::

    path/                  what libraries write to by themselves
    7/digest               looked at when the version is loaded
    7/bytes                some bytes
    7/file/model.pt        a file under its own name
    7/tree/...             a directory
    7/path/...             a directory: path/ as it was

A version is filled under a temporary name, synced, then renamed to the next number. The highest
number counts; lower ones are removed afterwards. So a crash at any moment leaves what was saved
before or what is saved now, whole.
"""

import os
import shutil
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from typing import Any, TypeVar

from perdure import _files
from perdure._api.future import on_loop
from perdure._blobs.hashing import blake3_of_tree
from perdure._secrets import masking
from perdure._serde.registry import ENCODERS, encodes
from perdure.errors import BlobCorruptError, ConfigurationError, StorageError, TypeCheckError

T = TypeVar("T")

Saveable = bytes | bytearray | memoryview | str | os.PathLike[str]

_DIGEST = "digest"
_PAYLOAD = "payload"
_RESTORED = "restored"


class SavedBytes(bytes):
    """Bytes that were saved. Flyte 2 has a path in their place, so they can be read like one."""

    def read_bytes(self) -> bytes:
        """Return the bytes."""
        return bytes(self)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the bytes as text."""
        return self.decode(encoding, errors)

    def open(self, mode: str = "r", **options: Any) -> Any:
        """Return the bytes as an open file."""
        import io

        file = io.BytesIO(self)
        return file if "b" in mode else io.TextIOWrapper(file, **options)


@encodes(SavedBytes)
def _plain(writer: Any, value: SavedBytes) -> object:
    return ENCODERS[bytes](writer, bytes(value))


class Checkpoint:
    """What an action keeps for its next attempt, whatever ends this one.

    ``save`` and ``load`` block in a ``def`` task. On an event loop they return an awaitable: write
    ``await checkpoint.save(...)``; the work is done on a thread.
    """

    def __init__(self, folder: Path, *, sync: bool) -> None:
        self._folder = folder
        self._sync = sync

    @property
    def path(self) -> Path:
        """A directory that libraries write to by themselves, the same in every attempt.

        Nothing is atomic there but what the library makes so.
        """
        path = self._folder / "path"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def prev_exists(self) -> bool:
        """Whether there is something to :meth:`load`."""
        return self._newest() > 0

    def save(self, data: Saveable) -> Any:
        """Keep ``data`` in place of what was saved before: all of it, or nothing if this fails.

        Args:
            data: Bytes, or the path of a file or of a directory, which is copied.

        Raises:
            FileNotFoundError: There is nothing at that path.
            TypeCheckError: It is neither bytes nor a path.
            ConfigurationError: It is a folder in which checkpoints are kept.
            StorageError: It cannot be written.
        """
        return _in_colour(lambda: self.save_sync(data))

    def load(self) -> Any:
        """Return what was saved last, None if nothing was.

        Bytes are returned as bytes. A file or a directory is copied out first, and its path is
        returned: the copy is yours. If the directory :attr:`path` itself was saved, it is put back
        as it was then.

        Raises:
            BlobCorruptError: What is there is not what was saved.
            StorageError: It cannot be read.
        """
        return _in_colour(self._load)

    def save_sync(self, data: Saveable) -> None:
        """Do what :meth:`save` does, and block, even on an event loop."""
        if isinstance(data, bytes | bytearray | memoryview):
            content = data
            masking.refuse("a checkpoint", content)
            self._keep(lambda version: _write(version / "bytes", content))
            return
        if not isinstance(data, str | os.PathLike):
            raise TypeCheckError(
                f"a checkpoint is bytes or a path, not {type(data).__name__}",
                hint="turn it into bytes first, for example: save(json.dumps(state).encode())",
            )
        source = Path(data)
        if not source.exists():
            raise FileNotFoundError(
                f"there is nothing at {str(data)!r} to save; a str is a path: to save text, write "
                "save(text.encode())"
            )
        if self._folder.resolve().is_relative_to(source.resolve()):  # it would copy its own copy
            raise ConfigurationError(
                f"the folder {source.resolve()} cannot be saved: checkpoints are kept inside it, "
                f"in {self._folder}",
                hint="save a folder of its own, or set PERDURE_HOME to a folder elsewhere",
            )
        self._keep(lambda version: self._copy(source, version))

    def load_sync(self) -> Path | None:
        """Return what was saved last as a path, as Flyte 2 does; bytes are in a file there."""
        saved = self._load()
        if saved is None or isinstance(saved, Path):
            return saved
        path = self.path / _PAYLOAD
        _files.write(path, saved, sync=False)
        return path

    # --- saving -----------------------------------------------------------------------------------

    def _keep(self, fill: Callable[[Path], None]) -> None:
        """Make the next version of what ``fill`` puts into a folder."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _files.draft(self._folder) as unfinished:
                unfinished.mkdir()
                fill(unfinished)
                _write(unfinished / _DIGEST, blake3_of_tree(_kept(unfinished)))
                if self._sync:
                    _files.sync_tree(unfinished)
                number = self._publish(unfinished)
            if self._sync:
                self._sync_folders()
        except OSError as error:
            raise StorageError(
                f"a checkpoint cannot be saved in {self._folder}: {error.strerror or error}",
                hint="free some space, or make what is saved readable; what was saved before is "
                "still there",
            ) from error
        self._clean(number)

    def _copy(self, source: Path, version: Path) -> None:
        if not source.is_dir():
            target = version / "file" / source.name
            target.parent.mkdir()
            shutil.copy(source, target)
            return
        kind = "path" if source.resolve() == (self._folder / "path").resolve() else "tree"
        shutil.copytree(source, version / kind, symlinks=True)

    def _publish(self, unfinished: Path) -> int:
        number = self._newest() + 1
        while True:
            try:
                unfinished.rename(self._folder / str(number))
            except OSError:
                if not (self._folder / str(number)).exists():
                    raise
                number += 1  # another thread was faster
            else:
                return number

    def _sync_folders(self) -> None:
        # The folders above may be as new as the version.
        for folder in (self._folder, *list(self._folder.parents)[:3]):
            _files.sync_path(folder)

    def _clean(self, number: int) -> None:
        """Remove earlier versions, and what other processes left behind that died while saving."""
        mine = f"{_files.TEMPORARY}{os.getpid()}-"
        for each in self._folder.iterdir():
            left = each.name.startswith(_files.TEMPORARY) and not each.name.startswith(mine)
            if left or (each.name.isdecimal() and int(each.name) < number):
                _files.remove(each)

    # --- loading ----------------------------------------------------------------------------------

    def _newest(self) -> int:
        if not self._folder.is_dir():
            return 0
        return max((int(p.name) for p in self._folder.iterdir() if p.name.isdecimal()), default=0)

    def _load(self) -> "SavedBytes | Path | None":
        while number := self._newest():
            try:
                restored = self._restored(self._folder / str(number))
            except OSError:
                if self._newest() == number:
                    raise
            else:
                if self._newest() == number:
                    return restored
            # Another thread has saved a newer one, and may have begun to remove this.
        return None

    def _restored(self, version: Path) -> "SavedBytes | Path":
        kept = _kept(version)
        if blake3_of_tree(kept) != (version / _DIGEST).read_bytes():
            raise BlobCorruptError(
                f"the checkpoint {version} is damaged: it is not what was saved",
                hint=f"restore it from a copy, or begin anew without it: rm -rf {version}",
            )
        if kept.name == "bytes":
            return SavedBytes(kept.read_bytes())
        if kept.name == "path":
            return self._put_back(kept, self._folder / "path")
        restored = self._put_back(kept, self._folder / _RESTORED)
        return next(restored.iterdir()) if kept.name == "file" else restored

    def _put_back(self, kept: Path, target: Path) -> Path:
        with _files.draft(self._folder) as unfinished:
            shutil.copytree(kept, unfinished, symlinks=True)
            _files.remove(target)
            unfinished.rename(target)
        return target


def latest_checkpoint(
    root: Path | str,
    glob_pattern: str = "**/last.ckpt",
    *,
    key: Callable[[Path], Any] | None = None,
) -> Path | None:
    """Return the file below ``root`` that was written last of those that fit the pattern, or None.

    Args:
        root: A directory, such as ``ctx().checkpoint.path``.
        glob_pattern: Which files; ``**/`` stands for any folders.
        key: What the largest of is taken instead of the time of writing, for example the number in
            the name.
    """
    found = Path(root).glob(glob_pattern)
    return max(found, key=key or (lambda path: path.stat().st_mtime_ns), default=None)


def _kept(version: Path) -> Path:
    """Return what a version holds."""
    for each in version.iterdir():
        if each.name != _DIGEST:
            return each
    raise FileNotFoundError(version)


def _write(path: Path, content: bytes | bytearray | memoryview) -> None:
    with path.open("wb") as file:
        file.write(content)


def _in_colour(work: Callable[[], T]) -> Any:
    """Do it here; on an event loop, begin it on a thread and return what to await."""
    if not on_loop():
        return work()
    import asyncio

    return asyncio.get_running_loop().run_in_executor(None, copy_context().run, work)
