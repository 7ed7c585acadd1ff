"""Which controllers are alive, and how other processes of the user reach them.

A controller keeps a file of its name in the home folder, locked as long as it lives. POSIX record
locks are dropped by the kernel when the process ends, however it ends, are not inherited by forked
children, and survive neither a reboot nor a reused process id: whoever can take the lock knows that
the owner is gone. The file tells address and token of the controller's socket, and is readable by
its user only.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from pathlib import Path

import msgspec

from perdure.errors import StorageError

_mine: dict[str, "Contact"] = {}
"""Controllers of this process: to open and close the file of one's own lock would drop it."""


class Contact(msgspec.Struct, frozen=True):
    """How to reach a controller.

    Attributes:
        address: Path of its unix socket.
        token: What a peer has to say first.
        pid: Its process.
    """

    address: str
    token: str
    pid: int


class Presence:
    """A live controller's file, lock and socket folder.

    Args:
        folder: Where controllers keep their files.

    Raises:
        StorageError: The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._path = folder / f"{self.name}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sweep(folder)
            # A socket's path is limited to about 100 bytes, the home folder's is not.
            self._sockets = Path(tempfile.mkdtemp(prefix="perdure-"))
            self.contact = Contact(
                str(self._sockets / "socket"), secrets.token_urlsafe(24), os.getpid()
            )
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            # It appears under its name only once it is locked: others sweep what is not.
            unborn = self._path.with_suffix(".new")
            self._file = os.open(unborn, flags, 0o600)
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._file, msgspec.json.encode(self.contact))
            unborn.rename(self._path)
        except OSError as error:
            raise StorageError(
                f"cannot write to {folder}: {error.strerror}",
                hint="make it writable, or set PERDURE_HOME to a folder that is",
            ) from error
        _mine[self.name] = self.contact

    def close(self) -> None:
        """Give up the name: runs this controller still holds count as interrupted."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)
        _mine.pop(self.name, None)
        shutil.rmtree(self._sockets, ignore_errors=True)


def is_alive(folder: Path, owner: str) -> bool:
    """Whether the controller of that name still lives."""
    if _is_mine(owner):
        return True
    try:
        file = os.open(folder / f"{owner}.json", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # two who probe do not see each other
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def starts(folder: Path) -> dict[str, float]:
    """Return the controllers that live now, by name, and when they were started."""
    living = (path for path in folder.glob("*.json") if is_alive(folder, path.stem))
    started = {}
    for path in living:
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            started[path.stem] = path.stat().st_mtime
    return started


def contact(folder: Path, owner: str) -> Contact | None:
    """Return how to reach a live controller; None if it is gone."""
    if _is_mine(owner):
        return _mine[owner]
    if not is_alive(folder, owner):
        return None
    try:
        return msgspec.json.decode((folder / f"{owner}.json").read_bytes(), type=Contact)
    except (OSError, msgspec.DecodeError):
        return None


def _is_mine(owner: str) -> bool:
    """Whether a controller of this very process, not of one that forked it, has that name."""
    return owner in _mine and _mine[owner].pid == os.getpid()


def _sweep(folder: Path) -> None:
    """Remove what controllers that were killed have left behind."""
    for path in folder.glob("*.json"):
        if is_alive(folder, path.stem):
            continue
        try:
            left = msgspec.json.decode(path.read_bytes(), type=Contact)
            shutil.rmtree(Path(left.address).parent, ignore_errors=True)
        except (OSError, msgspec.DecodeError):
            pass
        path.unlink(missing_ok=True)
