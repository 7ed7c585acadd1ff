"""Tasks that have secrets, and do with them what they should not."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import perdure
from perdure import report

env = perdure.TaskEnvironment(
    "vault", secrets=["api-token", perdure.Secret("certificate", file="CERTIFICATE")]
)
plain = perdure.TaskEnvironment("plain")
lost = perdure.TaskEnvironment("lost", secrets=perdure.Secret("nobody-has-this"))

NAMES = ("api-token", "API_TOKEN", "certificate", "CERTIFICATE")


def token() -> str:
    return os.environ["API_TOKEN"]


@env.task
def length() -> int:
    return len(token())


@plain.task
def seen_elsewhere() -> list[str]:
    """Return what a worker that has no secrets knows of them."""
    found = [name for name in NAMES if name in os.environ]
    for path in ("/proc/self/environ", f"/proc/{os.getppid()}/environ", "/proc/self/cmdline"):
        if Path(path).exists():
            text = Path(path).read_bytes()
            found += [path for name in NAMES if name.encode() + b"=" in text]
    return found


@plain.task
async def everywhere() -> tuple[int, list[str]]:
    return await length.aio(), await seen_elsewhere.aio()


@env.task
def prints() -> None:
    print("printed", token())
    print("to stderr", token(), file=sys.stderr)
    sys.stdout.write("cut " + token()[:5])
    sys.stdout.flush()
    sys.stdout.write(token()[5:] + "\n")
    sys.stdout.flush()
    os.write(1, b"by hand " + token().encode() + b"\n")
    subprocess.run(["sh", "-c", "echo by another program $API_TOKEN"], check=True)
    subprocess.run(["sh", "-c", "cat $CERTIFICATE; echo"], check=True)
    print("the end")


@env.task
async def prints_async(name: str) -> None:
    print(name, token())
    await asyncio.sleep(0)
    print(name, "goes on")


@plain.task
async def print_together(n: int) -> None:
    await asyncio.gather(*(prints_async(f"number {i}") for i in range(n)))


@env.task
def floods(lines: int) -> None:
    for line in range(lines):
        print(line, token())


@env.task
def dies() -> None:
    print("last words:", token(), flush=True)
    os._exit(3)


@env.task
def fails() -> None:
    error = PermissionError(f"https://user:{token()}@example.org refused")
    error.url = f"https://{token()}@example.org"  # type: ignore[attr-defined]
    raise error


@env.task
def returns_it() -> dict[str, str]:
    return {"token": token()}


@env.task
def passes_it_on() -> int:
    return takes(token())


@plain.task
def takes(text: str) -> int:
    return len(text)


@perdure.trace
def step() -> str:
    return token()


@env.task
def traces_it() -> str:
    return step()


@env.task
def saves_it() -> None:
    ctx = perdure.ctx()
    assert ctx is not None
    ctx.checkpoint.save(token().encode())


@env.task
def publishes_it() -> None:
    perdure.artifacts.publish(token(), name="loot")


@env.task
def whispers_it() -> int:
    with perdure.custom_context(token=token()):
        return takes("x")


@env.task
def reports_it() -> None:
    report.log(f"<p>the token is {token()}</p>")


@env.task
def file_path() -> tuple[str, str, int]:
    path = Path(os.environ["CERTIFICATE"])
    return str(path), path.read_text()[:5], path.stat().st_mode & 0o777


@lost.task
def never() -> None:
    """Cannot have what it needs."""


@plain.task
def calls_lost() -> str:
    try:
        never()
    except perdure.errors.SecretNotFoundError as error:
        return error.message
    return "it was found"
