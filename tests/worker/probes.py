"""Tasks that look around in their worker, or make it die. Copied into the run's folder."""

import asyncio
import ctypes
import gc
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import perdure
from perdure._api.environment import TaskEnvironment

env = TaskEnvironment("probe")


@env.task
def surroundings(names: list[str]) -> dict[str, object]:
    return {
        "env": {name: os.environ.get(name) for name in names},
        "cwd": str(Path.cwd()),
        "argv": sys.argv,
        "path": sys.path[0],
        "group": os.getpgrp(),
        "stdin": sys.stdin.read(),
        "defaults": [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGCHLD)]
        == [signal.SIG_DFL, signal.SIG_DFL],
        "collects": gc.isenabled(),
        "random": random.random(),
        "modules": sorted(sys.modules),
        "fds": sorted(int(fd.name) for fd in Path("/dev/fd").iterdir()),
    }


@env.task
def segfault() -> None:
    sys.stdout.write("last words\n")
    ctypes.string_at(0)


@env.task
def leave(code: int) -> None:
    os._exit(code)


@env.task
def by_signal(number: int) -> None:
    os.kill(os.getpid(), number)


@env.task
def with_child() -> int:
    return subprocess.Popen(["sleep", "600"]).pid


@env.task
def hold_the_interpreter() -> None:
    print("held")
    ctypes.PyDLL(None).sleep(600)  # unlike CDLL, keeps the lock that every other thread needs


@env.task
def child_signals() -> str:
    return subprocess.check_output(["cat", "/proc/self/status"], text=True)


@env.task
def say(text: str) -> None:
    print(text)


@env.task
def say_in_every_way() -> None:
    print("print", end="")
    os.write(1, b"<write>")  # before what Python has buffered: order on the descriptor counts
    print("stderr", file=sys.stderr)
    subprocess.run(["sh", "-c", "echo subprocess; echo error >&2"], check=True)
    libc = ctypes.CDLL(None)
    libc.puts(b"libc")
    libc.fflush(None)


@env.task
def quiet() -> None:
    pass


@env.task
async def chat(name: str, lines: int) -> None:
    for line in range(lines):
        print(f"{name}{line}")
        await asyncio.sleep(0)


@env.task
async def chat_below(name: str) -> None:
    os.write(1, name.encode())
    sys.stderr.buffer.write(b"bytes")
    await asyncio.sleep(0)


@env.task(queue="q")
def queued(n: int) -> int:
    return n


@env.task
def submit_two() -> list[int]:
    calls = []
    for n in range(2):
        calls.append(queued.submit(n))
        print("submitted", n, flush=True)
    return [call.result() for call in calls]


@env.task
async def call_three() -> list[int]:
    calls = [queued.aio(n) for n in range(3)]
    print("called", flush=True)
    calls[1].cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [r if isinstance(r, int) else -1 for r in results]


@env.task
async def need_cancelled() -> int:
    call = queued.aio(0)
    call.cancel()
    return await queued.override(queue=None).aio(call)


@env.task
async def map_lazily(count: int) -> int:
    taken = []
    async for _ in perdure.map.aio(queued, (taken.append(n) or n for n in range(count))):
        print("taken", len(taken), flush=True)
    return len(taken)


@env.task
def take(size: int) -> None:
    """Use so much memory; then stay, unless it is little."""
    held = bytearray(size)
    held[::4096] = b"x" * len(held[::4096])
    if size > 1:
        signal.pause()


@env.task
def take_elsewhere(size: int, note: str) -> None:
    """Let a process in a session of its own use it."""
    code = f"import os, signal; x = bytearray(b'x') * {size}; signal.pause()"
    started = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    Path(note).write_text(str(started.pid))
    started.wait()
