"""Scripts that are wrong, each in its own way, as text: tests write them where they need them."""

GUARDED = """
import perdure

env = perdure.TaskEnvironment("guarded")

if __name__ == "__main__":

    @env.task
    def inner(x: int) -> int:
        return x + 1

    print(perdure.run(inner, 1).result(timeout=60))
"""

RAISES_IN_WORKERS = """
import os

import perdure

env = perdure.TaskEnvironment("raises")

if os.environ.setdefault("DRIVER", str(os.getpid())) != str(os.getpid()):
    raise RuntimeError("only in workers")


@env.task
def one() -> int:
    return 1


if __name__ == "__main__":
    print(perdure.run(one).result(timeout=60))
"""

SYNTAX = """
import perdure
env = perdure.TaskEnvironment("syntax"
"""

EXITS_WHEN_LOADED = """
import sys

import perdure

env = perdure.TaskEnvironment("exits")


@env.task
def one() -> int:
    return 1


sys.exit(perdure.run(one).result(timeout=60) - 1)
"""

SAME_NAME = """
import perdure

env = perdure.TaskEnvironment("twins")


@env.task
def one(x: int) -> int:
    return x


@env.task(short_name="one")
def two(x: int) -> int:
    return -x
"""

EMPTY = "import perdure\n"

TASKS = """
import os
import sys
import threading

import perdure

env = perdure.TaskEnvironment("tasks")


def plain(x: int) -> int:
    return x


@env.task
def one(x: int) -> int:
    return x


@env.task
def exits(code: int) -> int:
    sys.exit(code)


@env.task
def interrupted() -> int:
    raise KeyboardInterrupt


@env.task
def vanishes() -> int:
    os._exit(0)


@env.task
def unpicklable() -> object:
    return {"inner": threading.Lock()}


@env.task(resources=perdure.Resources(cpu=100_000))
def enormous() -> int:
    return 1


@env.task
def endless(n: int = 0) -> int:
    return endless.forward(n + 1)


@env.task
def mute() -> int:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

        __repr__ = __str__

    raise Mute


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    print(perdure.run(globals()[name], *map(int, arguments)).result(timeout=60))
"""
