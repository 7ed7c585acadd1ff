"""What stands for the content of a file, where its maker knows better than its bytes do.

The module and the classes are called what Flyte 2 calls them: scripts import them from here.
"""

import hashlib
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


class PrecomputedValue:
    """What stands for the content is known beforehand.

    Args:
        value: This does.
    """

    def __init__(self, value: str) -> None:
        self._value = value

    def update(self, data: Any, /) -> None:
        """Do nothing."""

    def result(self) -> str:
        """Return what was given."""
        return self._value


class HashlibAccumulator:
    """A hash of Python's ``hashlib`` as a hash method.

    Args:
        h: Such as ``hashlib.sha256()``.
    """

    def __init__(self, h: "hashlib._Hash") -> None:
        self._hash = h

    @classmethod
    def from_hash_name(cls, name: str) -> "HashlibAccumulator":
        """Return the hash method of that name: ``"sha256"``."""
        return cls(hashlib.new(name))

    def update(self, data: Any, /) -> None:
        """Read the next piece."""
        self._hash.update(data)

    def result(self) -> str:
        """Return the digest of everything that was read, in hexadecimal."""
        return self._hash.hexdigest()
