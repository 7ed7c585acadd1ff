"""What a task asks for after it has run out of memory.

The controller never runs user code, so all that may have to be asked for is worked out in advance,
where the task is defined, and travels with it: a few requests, each for more memory than the last.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from perdure._quantity import quantity
from perdure.errors import ConfigurationError

if TYPE_CHECKING:
    from perdure._api.resources import Resources

MOST_STEPS = 8
"""How often a request may grow."""

_RELATIVE = re.compile(r"\s*([x+])(.+)")


def is_relative(memory: object) -> bool:
    """Whether it says how a request grows: ``"x2"``, ``"+512Mi"``."""
    return isinstance(memory, str) and _RELATIVE.fullmatch(memory) is not None


def check(memory: str) -> None:
    """Refuse what says how a request grows, and makes no sense.

    Raises:
        ConfigurationError: It is no number, or nothing would grow.
    """
    _grow(2, memory)


def _grow(size: int, memory: str) -> int:
    match = _RELATIVE.fullmatch(memory)
    assert match is not None
    amount = quantity("memory", match[2])
    grown = round(size * amount) if match[1] == "x" else size + round(amount)
    if grown <= size:
        raise ConfigurationError(
            f"memory={memory!r} does not ask for more", hint='write memory="x2" or "+512Mi"'
        )
    return grown


def steps(
    on_oom: "Resources | Callable[[int, Resources], Resources | None]",
    resources: "Resources",
) -> "list[Resources]":
    """Return what a task asks for, one after the other, if there is too little memory each time.

    Raises:
        ConfigurationError: ``on_oom`` makes no sense for these resources.
    """
    if callable(on_oom):
        return _called(on_oom, resources)
    memory = on_oom.memory
    if not isinstance(memory, str) or not is_relative(memory):
        return [replace(resources, memory=memory)]
    size = resources.demand().memory
    if not size:
        raise ConfigurationError(
            f"on_oom asks for memory={memory!r}, and there is no request that could grow",
            hint='declare one: resources=perdure.Resources(memory="512Mi")',
        )
    found = []
    for _ in range(MOST_STEPS):
        size = _grow(size, memory)
        found.append(replace(resources, memory=size))
    return found


def _called(
    on_oom: "Callable[[int, Resources], Resources | None]", resources: "Resources"
) -> "list[Resources]":
    found: list[Resources] = []
    for attempt in range(1, MOST_STEPS + 1):
        last = found[-1] if found else resources
        following = on_oom(attempt, last)
        if following is None:
            break
        if not isinstance(following, type(resources)):
            raise ConfigurationError(
                f"on_oom returned {following!r} for attempt {attempt}",
                hint="return perdure.Resources, or None: then the task fails",
            )
        if following.demand().memory <= last.demand().memory:
            break
        found.append(following)
    return found
