"""A desk at which real workers report: the controller's part, played by the test."""

import asyncio
import os
import select
import shutil
import sys
import time
from importlib.metadata import distribution
from pathlib import Path

import msgspec
import pytest

import perdure
from perdure._core.ids import root_id
from perdure._core.model import Bundle, Loader, TaskSpec
from perdure._engines.local import LocalEngine
from perdure._ports import WorkerRequest
from perdure._serde import dumps
from perdure._wire.framing import FrameReader, decode_from_worker, encode
from perdure._wire.messages import Assign, Define, Done, Welcome

TOKEN = "a secret"

LOADED = ("blake3", "msgspec", "uvloop")
"""Packages that every forkserver has loaded."""


class Peer:
    """A worker that has said Hello."""

    def __init__(self, hello, reader, writer):
        self.hello, self.pid = hello, hello.pid
        self._reader, self._writer = reader, writer
        self._frames = FrameReader()
        self._heard = []
        self._attempts = 0

    def say(self, *messages):
        self._writer.write(encode(list(messages)))

    def hang_up(self):
        self._writer.close()

    async def hear(self):
        while not self._heard:
            data = await self._reader.read(1 << 16)
            if not data:
                return None
            for body in self._frames.feed(data):
                self._heard += decode_from_worker(body)
        return self._heard.pop(0)

    def start(self, task, is_async=False, **inputs):
        """Assign a task of ``probes.py``; return the handle of the attempt."""
        self._attempts += 1
        number = self._attempts
        spec = TaskSpec(f"probe.{task}", Loader("module", "probes", task), is_async)
        encoded = dumps(inputs, None)
        self.say(
            Define(number, spec), Assign(number, number, "run", root_id("run"), 0, encoded.data)
        )
        return number

    async def done(self):
        while not isinstance(message := await self.hear(), Done):
            assert message is not None, "the worker hung up"
        return message


class Desk:
    """An engine with its controller's socket."""

    def __init__(self, home):
        self.home = home
        self.engine = LocalEngine(home / "logs")
        self.exits = asyncio.Queue()
        self.bundle = Bundle(cwd=str(home), argv=("script.py", "--flag"), sys_path=(str(home),))
        self._hellos = asyncio.Queue()
        self._writers = []

    async def __aenter__(self):
        (self.home / "probes.py").write_text((Path(__file__).parent / "probes.py").read_text())
        address = str(self.home / "socket")
        self._server = await asyncio.start_unix_server(self._greet, address)
        await self.engine.start(address, TOKEN, self.exits.put_nowait, print)
        return self

    async def __aexit__(self, *_):
        await self.engine.stop()
        for writer in self._writers:
            writer.close()
        self._server.close()
        await self._server.wait_closed()

    async def _greet(self, reader, writer):
        self._writers.append(writer)
        size = int.from_bytes(await reader.readexactly(4), "big")
        (hello,) = decode_from_worker(await reader.readexactly(size))
        self._hellos.put_nowait(Peer(hello, reader, writer))

    def request(self, worker, is_async=False, env_vars=(), recipe=b"", **bundle):
        self.engine.spawn(
            WorkerRequest(
                worker=worker,
                is_async=is_async,
                env_vars=env_vars,
                bundle=msgspec.structs.replace(self.bundle, **bundle),
                recipe=recipe,
            )
        )

    async def hello(self):
        return await self._hellos.get()

    async def worker(self, worker=1, **options):
        """Place a worker and let it in."""
        self.request(worker, **options)
        peer = await self.hello()
        peer.say(Welcome(self.bundle, str(self.home / "blobs"), 0.5))
        return peer

    def log(self, worker=1):
        return Path(self.engine.log_path(worker)).read_bytes()


@pytest.fixture
def at_desk(tmp_path):
    """Run ``scenario(desk)``, an async function, to its end."""

    def run(scenario):
        async def main():
            async with Desk(tmp_path) as desk:
                await asyncio.wait_for(scenario(desk), 30)

        asyncio.run(main())

    return run


def wait_for_end(pid, seconds=60.0):
    """Wait until a process, which need not be our child, has ended."""
    if sys.platform == "linux":
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            ended, _, _ = select.select([fd], [], [], seconds)
            assert ended, f"process {pid} lives"
        finally:
            os.close(fd)
        return
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.005)
    raise AssertionError(f"process {pid} lives")


@pytest.fixture(name="wait_for_end")
def _wait_for_end():
    return wait_for_end


class Twin:
    """The folder of an environment that has what workers need from where it is installed here."""

    def __init__(self, folder):
        self.folder = folder
        self.site = folder / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
        python = Path(sys.executable).resolve()
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(python)
        (folder / "pyvenv.cfg").write_text(
            f"home = {python.parent}\ninclude-system-site-packages = false\n"
        )
        self.site.mkdir(parents=True)
        (self.site / "perdure").symlink_to(Path(perdure.__file__).parent)
        for name in LOADED:
            self._install(distribution(name))

    def _install(self, found):
        for top in {file.parts[0] for file in found.files or () if len(file.parts) > 1} - {".."}:
            if top.endswith(".dist-info"):
                shutil.copytree(found.locate_file(top), self.site / top)
            elif top != "__pycache__":
                (self.site / top).symlink_to(found.locate_file(top))

    def information(self, name):
        (found,) = self.site.glob(f"{name}-*.dist-info")
        return found


@pytest.fixture
def twin(tmp_path):
    """Make such environments, by name."""
    return lambda name: Twin(tmp_path / "environments" / name)
