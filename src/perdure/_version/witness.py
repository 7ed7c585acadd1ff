"""Whether what was reached is still what it was, at a fraction of the cost of another walk."""

from types import FunctionType
from typing import Any

from perdure._version.describe import Part


class _Missing:
    """Stands for a name that is not bound."""


MISSING = _Missing()


class Witness:
    """Remembers what was bound to what.

    Names are compared by the identity of what they are bound to. Constants whose content can change
    in place are described again.
    """

    def __init__(self) -> None:
        self._bindings: list[tuple[dict[str, Any], str, object]] = []
        self._functions: list[tuple[FunctionType, tuple[object, ...]]] = []
        self._classes: list[tuple[type, dict[str, Any]]] = []
        self._values: list[tuple[object, bool, tuple[list[bytes], list[int]]]] = []

    def binding(self, namespace: dict[str, Any], name: str, value: object) -> None:
        """A global name was bound to this value, or ``MISSING``."""
        self._bindings.append((namespace, name, value))

    def function(self, function: FunctionType) -> None:
        """A function was looked at."""
        self._functions.append((function, _insides(function)))

    def cls(self, cls: type) -> None:
        """A class was looked at."""
        self._classes.append((cls, dict(cls.__dict__)))

    def value(self, value: object, *, only_code: bool) -> None:
        """A value that can change in place was described."""
        self._values.append((value, only_code, _described(value, only_code)))

    def still_holds(self) -> bool:
        """Whether all of it is as it was."""
        return (
            all(space.get(name, MISSING) is value for space, name, value in self._bindings)
            and all(_same(_insides(function), was) for function, was in self._functions)
            and all(_same_class(cls, was) for cls, was in self._classes)
            and all(_described(value, only) == was for value, only, was in self._values)
        )


def _described(value: object, only_code: bool) -> tuple[list[bytes], list[int]]:
    part = Part()
    part.add("", value, only_code=only_code)
    return part.lines, [id(target) for _, target in part.links]


def _insides(function: FunctionType) -> tuple[object, ...]:
    cells = function.__closure__ or ()
    return (
        function.__code__,
        function.__defaults__,
        function.__kwdefaults__,
        *(cell.cell_contents if _is_bound(cell) else MISSING for cell in cells),
    )


def _is_bound(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _same(now: Any, was: Any) -> bool:
    return len(now) == len(was) and all(a is b for a, b in zip(now, was, strict=True))


def _same_class(cls: type, was: dict[str, Any]) -> bool:
    now = cls.__dict__
    return len(now) == len(was) and all(now.get(name, MISSING) is was[name] for name in was)
