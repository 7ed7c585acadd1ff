"""What the local engine and its forkserver say to each other.

Frames are those of ``perdure._wire.framing``. The engine never names a process and the forkserver
never names a run: a worker is known by the number the controller gave it.
"""

import msgspec

from perdure._core.model import Bundle, LowMemory, MemoryUse
from perdure._wire.messages import Message

STARTUP_FAILED = 213
"""Exit code of a worker that could not get as far as Hello; its log says why."""

# --- engine -> forkserver -------------------------------------------------------------------------


class Setup(Message, tag=1):
    """First message: whom the workers dial, with which token, and where their logs go.

    The token travels here because arguments and environments of processes can be read by others.

    Attributes:
        address: Of the controller.
        token: What workers show there.
        logs: The folder.
        cells: With what the paths of workers' control groups begin, once there are any; ``""``:
            not yet.
    """

    address: str
    token: str
    logs: str
    cells: str = ""


class Spawn(Message, tag=2):
    """Fork a worker.

    Attributes:
        worker: Its number.
        is_async: Executor kind.
        environ: Its whole environment, as bytes because that is what environments are.
        bundle: Where its code is; ``files`` is left empty.
        outside: Import path of the interpreter that the run was started with, if that is not the
            one of the worker.
        inside: Folder of the environment that it works in, if the forkserver is not of that.
    """

    worker: int
    is_async: bool
    environ: dict[bytes, bytes]
    bundle: Bundle
    outside: tuple[str, ...] = ()
    inside: str = ""


class Kill(Message, tag=3):
    """SIGKILL the process group of the worker."""

    worker: int


class Limit(Message, tag=4):
    """From now on the worker and what it starts may use so many bytes; 0: what there is."""

    worker: int
    memory: int


class AskRoom(Message, tag=5):
    """May workers of the environment in a folder be forked here? Answered by Room."""

    folder: str


# --- forkserver -> engine -------------------------------------------------------------------------


class Ready(Message, tag=10):
    """Everything is imported; requests are answered from now on."""


class Spawned(Message, tag=11):
    """The worker runs as process ``pid``, which leads a process group of its own."""

    worker: int
    pid: int


class Exited(Message, tag=12):
    """The worker ended, or could not be forked.

    Attributes:
        worker: Its number.
        exit_code: Set if it exited.
        signal: Set if a signal killed it.
        out_of_memory: The kernel's out-of-memory killer struck around its death.
        output: Why it could not start, "" otherwise.
        over: It was killed for using more memory than it might.
    """

    worker: int
    exit_code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    output: str = ""
    over: MemoryUse | None = None


class Low(Message, tag=13):
    """The machine is about to run out of memory. Said again as long as it is."""

    memory: LowMemory


class Room(Message, tag=14):
    """Whether workers of the environment in a folder may be forked here."""

    folder: str
    is_there: bool


ToForkserver = Setup | Spawn | Kill | Limit | AskRoom
FromForkserver = Ready | Spawned | Exited | Low | Room

decode_to_forkserver = msgspec.msgpack.Decoder(list[ToForkserver]).decode
decode_from_forkserver = msgspec.msgpack.Decoder(list[FromForkserver]).decode
