"""A small controller for tests of the executors: memory only, one process per worker.

It does what the protocol says and nothing clever: assigns calls to workers (as many ahead as asked
for), answers with outcomes, keeps durable sleeps and recorded outcomes, so that a run can be
replayed from what an earlier one left.
"""

import heapq
import itertools
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from perdure import _serde
from perdure._blobs.local import LocalBlobs
from perdure._core.ids import root_id
from perdure._core.model import Failure, TaskSpec
from perdure._wire import messages as m
from perdure._wire.framing import FrameReader, decode_from_worker, encode

HERE = Path(__file__).parent


class Worker:
    def __init__(self, folder: Path, number: int, is_async: bool) -> None:
        ours, theirs = socket.socketpair()
        self.sock, self.is_async = ours, is_async
        self.log = folder / f"{number}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "worker_process.py"), str(theirs.fileno()),
                 str(int(is_async)), str(folder), str(self.log)],
                pass_fds=[theirs.fileno()], stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        theirs.close()
        self.reader = FrameReader()
        self.specs: dict[int, TaskSpec] = {}
        self.numbers: dict[TaskSpec, int] = {}
        self.assigned: dict[int, Action] = {}
        self.blocked, self.awaits = False, b""
        self.log_start = 0

    def reuse(self) -> None:
        """Forget the controller that is done with this worker."""
        self.blocked, self.awaits = False, b""
        self.log_start = self.log.stat().st_size

    def text(self) -> str:
        return self.log.read_bytes()[self.log_start :].decode()

    def send(self, *messages: m.Message) -> None:
        self.sock.sendall(encode(list(messages)))

    def close(self) -> None:
        self.sock.close()
        self.process.wait(60)


class Pool:
    """Worker processes that tests take over from each other: starting one takes a while."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.idle: list[Worker] = []
        self._count = itertools.count()
        self.handles = itertools.count(1)

    def take(self, is_async: bool) -> Worker:
        for worker in self.idle:
            if worker.is_async == is_async:
                self.idle.remove(worker)
                worker.reuse()
                return worker
        return Worker(self.folder, next(self._count), is_async)

    def give(self, worker: Worker) -> None:
        if worker.assigned:
            worker.close()
        else:
            self.idle.append(worker)

    def close(self) -> None:
        for worker in self.idle:
            worker.close()


class Action:
    def __init__(self, key, spec, inputs, parent, depth, needs=()) -> None:
        self.id, self.spec, self.inputs, self.parent, self.depth = key, spec, inputs, parent, depth
        self.needs = needs
        self.attempts = 0
        self.cancelled = ""


class Controller:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.ahead, self.replay = 1, False
        self.page = 0
        self.pages: dict[int, list[m.Recorded]] = {}
        self.blobs = LocalBlobs(pool.folder / "blobs")
        self.workers: list[Worker] = []
        self.selector = selectors.DefaultSelector()
        self.outcomes: dict[bytes, tuple[bytes | None, Failure | None]] = {}
        self.names: dict[bytes, str] = {}
        self.actions: dict[bytes, Action] = {}
        self.waiting: deque[Action] = deque()
        self.sleeps: list[tuple[float, int, bytes]] = []
        self.told: list[m.Message] = []
        self.executed: list[str] = []
        self.root = b""
        self.on_message = lambda worker, message: None

    # --- driving ----------------------------------------------------------------------------------

    def run(self, task, *args, name="run", timeout=90.0, context=None, **kwargs):
        self.start(task, *args, name=name, context=context, **kwargs)
        return self.finish(timeout)

    def start(self, task, *args, name="run", context=None, **kwargs) -> None:
        inputs = _serde.dumps(task.bind(args, kwargs), self.blobs)
        self.name, self.root = name, root_id(name)
        self.context = b"" if context is None else _serde.dumps(context, self.blobs).data
        self.outcomes.pop(self.root, None)
        self._begin(Action(self.root, task.spec(), inputs.data, None, 0))

    def finish(self, timeout=90.0):
        self.drive(lambda: self.root in self.outcomes, timeout)
        value, failure = self.outcomes[self.root]
        if failure is not None:
            raise _serde.load_error(failure, self.blobs)
        return _serde.loads(value, self.blobs)

    def drive(self, until, timeout=90.0) -> None:
        deadline = time.monotonic() + timeout
        while not until():
            left = deadline - time.monotonic()
            assert left > 0, f"nothing happens; logs: {self.logs()}"
            if self.sleeps:
                left = max(0.0, min(left, self.sleeps[0][0] - time.monotonic()))
            for key, _ in self.selector.select(min(left, 0.05)):
                self._read(key.data)
            while self.sleeps and self.sleeps[0][0] <= time.monotonic():
                self._settle(heapq.heappop(self.sleeps)[2], b"\0\xc0", None)

    def logs(self) -> str:
        return "\n".join(worker.text() for worker in self.workers)

    def count(self, kind) -> int:
        return sum(isinstance(message, kind) for message in self.told)

    def close(self) -> None:
        for worker in self.workers:
            self.pool.give(worker)
        self.selector.close()

    # --- messages ---------------------------------------------------------------------------------

    def _read(self, worker: Worker) -> None:
        data = worker.sock.recv(1 << 18)
        assert data, f"a worker died: {self.logs()}"
        for body in worker.reader.feed(data):
            for message in decode_from_worker(body):
                self._act(worker, message)
        self._schedule()

    def _act(self, worker: Worker, message) -> None:  # noqa: C901  # one case per message
        self.told.append(message)
        self.on_message(worker, message)
        match message:
            case m.Define():
                worker.specs[message.task] = message.spec
            case m.Call():
                parent = worker.assigned[message.parent]
                self.names[message.id] = worker.specs[message.task].name
                action = Action(
                    message.id, worker.specs[message.task], message.inputs,
                    (worker, message.parent), parent.depth + 1, message.needs,
                )  # fmt: skip
                self._begin(action)
            case m.Sleep():
                self._step(worker, message.parent, message.id)
                if message.id not in self.outcomes:
                    heapq.heappush(
                        self.sleeps, (time.monotonic() + message.seconds, id(message), message.id)
                    )
                else:
                    self._settle(message.id, *self.outcomes[message.id])
            case m.Lookup():
                if message.id in self.outcomes:
                    worker.send(m.Resolved(message.parent, message.id, *self.outcomes[message.id]))
                else:
                    worker.send(m.Absent(message.parent, message.id))
            case m.Record():
                self.names[message.id] = message.name
                self._step(worker, message.parent, message.id)
                self._settle(message.id, message.value, message.failure)
            case m.MoreRecorded():
                if pages := self.pages[message.attempt]:
                    worker.send(pages.pop(0))
            case m.Done():
                action = worker.assigned.pop(message.attempt)
                worker.blocked = False if not worker.assigned else worker.blocked
                self.executed.append(action.spec.name)
                for key in message.unfinished:
                    self._cancel(key)
                failure = message.failure
                if (
                    failure and failure.retryable and action.attempts < action.spec.retry.count
                    and not action.cancelled
                ):  # fmt: skip
                    action.attempts += 1
                    self.waiting.append(action)
                else:
                    self._settle(action.id, message.value, failure)
            case m.Blocked():
                worker.blocked, worker.awaits = True, message.awaits
            case m.Unblocked():
                worker.blocked = False
            case m.Returned():
                for handle in reversed(message.attempts):
                    self.waiting.appendleft(worker.assigned.pop(handle))
            case m.CancelCall():
                self._cancel(message.id)

    def _step(self, worker, parent, key) -> None:
        action = Action(key, None, b"", (worker, parent), 0)
        self.actions[key] = action

    def _begin(self, action: Action) -> None:
        self.actions[action.id] = action
        if action.id in self.outcomes:
            self._settle(action.id, *self.outcomes[action.id])
        else:
            self.waiting.append(action)
        self._schedule()

    def _settle(self, key, value, failure) -> None:
        action = self.actions.pop(key, None)
        self.outcomes[key] = value, failure
        if action is not None and action.parent is not None:
            worker, handle = action.parent
            if worker.awaits in (b"", key):
                worker.blocked = False
            worker.send(m.Resolved(handle, key, value, failure))

    def _cancel(self, key: bytes, reason="cancelled") -> None:
        action = self.actions.get(key)
        if action is None:
            return
        action.cancelled = reason
        self.waiting = deque(a for a in self.waiting if a is not action)
        for worker in self.workers:
            for handle, other in worker.assigned.items():
                if other is action:
                    worker.send(m.Cancel(handle, reason))

    def cancel_running(self, name: str, reason="cancelled") -> None:
        for action in list(self.actions.values()):
            if action.spec is not None and action.spec.name == name:
                self._cancel(action.id, reason)

    # --- placing ----------------------------------------------------------------------------------

    def _schedule(self) -> None:
        batches: dict[Worker, list[m.Message]] = {}
        held: list[Action] = []
        while self.waiting:
            action = self.waiting.popleft()
            if any(need not in self.outcomes for need in action.needs):
                held.append(action)
                continue
            if failed := [f for need in action.needs if (f := self.outcomes[need][1])]:
                self._settle(action.id, None, failed[0])
                continue
            worker = self._place(action.spec.is_async)
            batches.setdefault(worker, []).extend(self._assign(worker, action))
        self.waiting.extend(held)
        for worker, batch in batches.items():
            worker.send(*batch)

    def _place(self, is_async: bool) -> Worker:
        for worker in self.workers:
            full = not is_async and len(worker.assigned) >= self.ahead
            if worker.is_async == is_async and not worker.blocked and not full:
                return worker
        worker = self.pool.take(is_async)
        self.workers.append(worker)
        self.selector.register(worker.sock, selectors.EVENT_READ, worker)
        return worker

    def _assign(self, worker: Worker, action: Action):
        if action.spec not in worker.numbers:
            worker.numbers[action.spec] = len(worker.numbers) + 1
            yield m.Define(worker.numbers[action.spec], action.spec)
        handle = next(self.pool.handles)
        worker.assigned[handle] = action
        yield m.Assign(
            handle, worker.numbers[action.spec], self.name, action.id, action.attempts,
            action.inputs, {need: self.outcomes[need][0] for need in action.needs},
            self.replay, action.depth, True, self.context, bool(self.page),
        )  # fmt: skip
        if self.page:
            yield from self._recorded(handle)

    def _recorded(self, handle: int):
        """Yield the first page of what is recorded, and keep the rest."""
        told = [(key, value) for key, (value, _) in self.outcomes.items() if value is not None]
        starts = range(0, len(told) or 1, self.page)
        pages = [
            m.Recorded(
                handle,
                b"".join(key for key, _ in told[at : at + self.page]),
                [value for _, value in told[at : at + self.page]],
                at == starts[-1],
            )
            for at in starts
        ]
        self.pages[handle] = pages[1:]
        yield pages[0]
