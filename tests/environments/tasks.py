"""Tasks that want other things installed; what they import themselves is in every environment."""

import os
import signal
import sys
from pathlib import Path

import perdure


def tiny(version):
    return perdure.Image.from_debian_base().with_pip_packages(f"tiny=={version}")


first = perdure.TaskEnvironment("first", image=tiny("1.0").with_env_vars({"A": "1", "B": "1"}))
second = perdure.TaskEnvironment("second", image=tiny("2.0"), env_vars={"A": "2"})
third = first.clone_with("third", image=tiny("3.0"))
broken = perdure.TaskEnvironment("broken", image=tiny("99"))
boxed = perdure.TaskEnvironment("boxed", image=perdure.Image.from_base("registry/image"))
starting = first.clone_with(
    "starting", image=perdure.Image.from_debian_base().with_pip_packages("tiny==1.0", "starter")
)
plain = perdure.TaskEnvironment("plain")


def what():
    import tiny

    return tiny.VERSION


@first.task
def one() -> tuple[str, str | None, str | None]:
    return what(), os.environ.get("A"), os.environ.get("B")


@second.task
async def two() -> str:
    return what()


@third.task
def three() -> list[str]:
    return [what(), here()]  # a call from one environment into another


@plain.task
def here() -> str:
    return sys.prefix


@first.task
def host_of_first() -> int:
    return os.getppid()


@second.task
def host_of_second() -> int:
    return os.getppid()


@plain.task
def hosts() -> tuple[int, ...]:
    return os.getppid(), host_of_first(), host_of_second()


@starting.task
def started() -> tuple[str, str, int]:
    return what(), sys.started_with, os.getppid()  # type: ignore[attr-defined]


@plain.task
def hosts_of_started() -> tuple:
    return os.getppid(), started()


@broken.task(retries=5)
def never() -> None: ...


@boxed.task
def box() -> str:
    return "here"


@plain.task
def parent() -> tuple:
    return one(), two.submit().result(), three()


@plain.task
def survivor() -> str:
    try:
        never()
    except perdure.errors.EnvironmentBuildError as error:
        return error.message
    return ""


@plain.task
def around() -> str:
    return box()


@second.task
def thing() -> object:
    import tiny

    return tiny.Thing()


@second.task
def look(value: object) -> str:
    return type(value).__name__


@plain.task
def pass_on() -> str:
    return look(thing.submit())


@plain.task
def open_up() -> str:
    return type(thing()).__name__


@second.task
def kill_the_forkserver(mark: str) -> str:
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    return what()


@second.task(cache="auto")
def kept(mark: str) -> str:
    with Path(mark).open("a") as marks:
        marks.write("x")
    return what()


other = perdure.TaskEnvironment("other")


@other.task
def version() -> str:
    return "{}.{}".format(*sys.version_info)


@plain.task
def closure(python: str) -> str:
    @other.task(image=perdure.Image.from_debian_base(tuple(map(int, python.split(".")))))
    def inner() -> str:
        return "it ran"

    return inner()
