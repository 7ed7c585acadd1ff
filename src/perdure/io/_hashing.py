"""What stands for the content of a file, where its maker knows better than its bytes do."""

from collections.abc import Callable
from typing import Any, Protocol


class HashMethod(Protocol):
    """Reads the content of a file, piece by piece, and says what stands for it."""

    def update(self, data: Any, /) -> None:
        """Read the next piece."""

    def result(self) -> str:
        """Return what stands for everything that was read."""


class HashFunction:
    """A function as a hash method: it is called with each piece, and its last answer counts.

    Args:
        fn: Takes bytes, returns text.
    """

    def __init__(self, fn: Callable[[Any], str]) -> None:
        self._function = fn
        self._result = ""

    @classmethod
    def from_fn(cls, fn: Callable[[Any], str]) -> "HashFunction":
        """Return the hash method of a function."""
        return cls(fn)

    def update(self, data: Any, /) -> None:
        """Read the next piece."""
        self._result = self._function(data)

    def result(self) -> str:
        """Return the function's last answer."""
        return self._result
