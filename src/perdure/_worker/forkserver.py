"""The forkserver: a small, single-threaded process that has imported what workers need.

It forks workers on request, reports their ends, and sees to it that none outlives the user's
process. It never imports user code, and nothing that starts threads or opens devices: a fork must
find nothing but plain memory. What user code asks Perdure for is here already: workers that have
to import it, and then just fall asleep, spend a third of their time on that.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from perdure._api import environment  # noqa: F401  # for user code, nearly all of it
from perdure._core.model import MemoryUse
from perdure._engines.cells import Cause, Cells
from perdure._engines.cgroups import groups
from perdure._engines.forkserver_protocol import (
    STARTUP_FAILED,
    AskRoom,
    Exited,
    Kill,
    Limit,
    Low,
    Ready,
    Room,
    Setup,
    Spawn,
    Spawned,
    decode_to_forkserver,
)
from perdure._wire.framing import FrameReader, encode
from perdure._wire.messages import Message
from perdure._worker import guests
from perdure._worker import main as worker_main
from perdure._worker.watch import enforced, watch
from perdure.config import log_path
from perdure.errors import PerdureError

_RECEIVE_BYTES = 1 << 16
_REAP_SECONDS = 1.0
_PARENT_POLL_SECONDS = 1.0  # only where the kernel cannot tell that the parent ended


def main(fd: int, parent: int) -> NoReturn:
    """Serve the engine at the other end of socket ``fd`` until it or process ``parent`` ends."""
    gc.disable()  # nothing here makes garbage; workers turn it on again
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    server = _Forkserver(socket.socket(fileno=fd), parent)
    try:
        server.serve()
    finally:
        server.end_workers()
    os._exit(0)


class _Forkserver:
    def __init__(self, sock: socket.socket, parent: int) -> None:
        self._sock = sock
        self._parent = parent
        self._parent_fd = _pidfd(parent)
        self._reader = FrameReader()
        self._setup = Setup("", "", "")
        self._workers: dict[int, int] = {}  # pid -> worker
        self._oom_kills = _OomKills()
        self._cells = Cells()
        self._watch = watch()
        self._over: dict[int, MemoryUse] = {}  # killed for it, not reaped yet
        self._has_more = False
        self._wakeup, self._wakeup_end = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._wakeup_end, False)

    def serve(self) -> None:
        """Answer requests and report exits until there is nobody to serve."""
        # Without a handler the interpreter would not write to the wakeup fd.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        # Keeps the collector of every worker from touching, and so copying, the shared pages.
        gc.freeze()
        self._send(Ready())
        watched = [self._sock.fileno(), self._wakeup]
        if self._parent_fd >= 0:
            watched.append(self._parent_fd)
        poll = select.poll()
        for fd in watched:
            poll.register(fd, select.POLLIN)
        while os.getppid() == self._parent:
            ready = {fd for fd, _ in poll.poll(self._patience())}
            if self._parent_fd in ready:
                return
            if self._wakeup in ready:
                os.read(self._wakeup, 4096)
                self._reap()
            if self._sock.fileno() in ready and not self._receive():
                return
            if self._workers and not self._has_more:
                self._import_more()
            self._mind_memory()

    def _import_more(self) -> None:
        """Import what only some user code asks for, while the first workers are on their way."""
        from perdure._api import durable  # noqa: F401

        gc.freeze()
        self._has_more = True

    def _patience(self) -> float | None:
        """Return for how many milliseconds there is nothing to do unless something happens."""
        waits = [self._watch.wait(self._workers)]
        if self._parent_fd < 0:
            waits.append(_PARENT_POLL_SECONDS)
        return min((1000 * wait for wait in waits if wait is not None), default=None)

    def _mind_memory(self) -> None:
        """Kill the workers that use more than they may; tell when the machine has too little."""
        for tree, use in self._watch.look(self._workers):
            pid = tree[0]
            self._over[pid] = use
            self._watch.forget(pid)
            _kill_group(pid)
            for each in tree[1:]:  # those that have left the group
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(each, signal.SIGKILL)
        if (low := self._watch.low(self._workers)) is not None:
            self._send(Low(low))

    def end_workers(self) -> None:
        """Kill every worker with its group, and reap them so that no zombie is left to anyone."""
        for pid in self._workers:
            _kill_group(pid)
        deadline = time.monotonic() + _REAP_SECONDS
        while self._workers and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid:
                    self._workers.pop(pid, None)
                    continue
            time.sleep(0.001)
        self._cells.close(unite=os.getppid() != self._parent)

    def _receive(self) -> bool:
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except ConnectionError:
            return False
        for body in self._reader.feed(data):
            for message in decode_to_forkserver(body):
                match message:
                    case Setup():
                        self._set_up(message)
                    case Spawn():
                        self._spawn(message)
                    case Kill(worker):
                        self._kill(worker)
                    case Limit(worker, memory):
                        self._limit(worker, memory)
                    case AskRoom(folder):
                        self._send(Room(folder, guests.may_move_in(Path(folder))))
        return bool(data)

    def _set_up(self, setup: Setup) -> None:
        if setup.cells != self._setup.cells:
            self._cells = Cells(setup.cells)
            self._oom_kills = _OomKills()  # this process is in another group now
        self._setup = setup

    def _send(self, message: Message) -> None:
        # An engine that is gone is noticed by the loop, not here.
        with contextlib.suppress(ConnectionError):
            self._sock.sendall(encode([message]))

    def _spawn(self, request: Spawn) -> None:
        try:
            log = os.open(
                log_path(Path(self._setup.logs), request.worker),
                os.O_WRONLY | os.O_CREAT | os.O_APPEND,
                0o600,
            )
        except OSError as error:
            self._send(Exited(request.worker, output=f"cannot open the worker's log: {error}"))
            return
        forkserver = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._send(Exited(request.worker, output=f"cannot fork a worker: {error}"))
            return
        finally:
            if os.getpid() == forkserver:
                os.close(log)
        if pid == 0:
            self._become_worker(request, log, forkserver)
        # Both sides do it, so that the group exists for whoever comes first.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._workers[pid] = request.worker
        self._send(Spawned(request.worker, pid))

    def _become_worker(self, request: Spawn, log: int, forkserver: int) -> NoReturn:
        """Turn this fork into a worker."""
        code = STARTUP_FAILED
        try:
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._sock.close()
            for fd in (self._wakeup, self._wakeup_end, self._parent_fd):
                if fd >= 0:
                    os.close(fd)
            gc.enable()
            code = worker_main.work(self._setup, request, forkserver)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except PerdureError as error:
            print(error, file=sys.stderr)  # it says all there is to say
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(code)

    def _kill(self, worker: int) -> None:
        for pid, number in self._workers.items():
            if number == worker:
                _kill_group(pid)

    def _limit(self, worker: int, request: int) -> None:
        memory = enforced(request)
        for pid, number in self._workers.items():
            if number == worker and pid not in self._over:
                self._watch.limit(pid, memory)
                self._cells.limit(pid, worker, memory)

    def _reap(self) -> None:
        """Report every worker that has ended."""
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            # What a worker started ends with it. The number cannot have been given to another
            # process in the microseconds since it became free.
            _kill_group(pid)
            worker = self._workers.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            self._send(self._end(pid, worker, code))

    def _end(self, pid: int, worker: int, code: int) -> Exited:
        """Return the news of a worker's end, and forget it."""
        over, cause = self._over.pop(pid, None), self._cells.leave(pid)
        if cause is Cause.OVER and over is None:
            over = self._watch.stopped(pid)
        self._watch.forget(pid)
        if code >= 0:
            return Exited(worker, exit_code=code)
        oom = False
        if -code == signal.SIGKILL and over is None:
            oom = self._oom_kills.struck() if cause is None else cause is not Cause.OTHER
        return Exited(worker, signal=-code, out_of_memory=oom, over=over)


class _OomKills:
    """The kernel's count of out-of-memory kills: of our cgroup if it tells, else of the machine."""

    def __init__(self) -> None:
        own = (folder for version, folder in groups("memory") if version == 2)
        self._sources = (*(folder / "memory.events" for folder in own), Path("/proc/vmstat"))
        self._seen = self._read()
        self._recent = 0
        self._until = 0.0

    def struck(self) -> bool:
        """Whether the killer struck since the last call, or a moment ago more often than asked."""
        before, self._seen, now = self._seen, self._read(), time.monotonic()
        if self._seen > before or now > self._until:
            self._recent, self._until = self._seen - before, now + _REAP_SECONDS
        self._recent -= 1
        return self._recent >= 0

    def _read(self) -> int:
        for path in self._sources:
            with contextlib.suppress(OSError, ValueError):
                for line in path.read_text().splitlines():
                    name, _, count = line.partition(" ")
                    if name == "oom_kill":
                        return int(count)
        return 0


def _pidfd(pid: int) -> int:
    """Return a descriptor that becomes readable when the process ends, -1 if there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or an old kernel
        return -1


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
