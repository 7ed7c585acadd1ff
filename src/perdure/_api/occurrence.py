"""How often an attempt has made the same call: exact for thousands, compact for millions.

Occurrence counts are part of identity, so they must survive as long as the attempt, and a parent
may make millions of calls. Nearly all of those are made once. The first 65,536 are counted in a
plain dict. After that, a call seen once costs one 8-byte fingerprint in an open-addressing
table (linear probing, load at most 0.6), and only calls seen again get an exact entry.

Two different calls share a fingerprint with probability n²/2⁶⁵: about 3e-8 for a million of calls.
"""

from array import array
from collections.abc import Iterable
from hashlib import blake2b

SMALL = 1 << 16
"""Calls up to which a plain dict is used."""

_MAX_LOAD = 0.6
_EMPTY = 0


class Occurrences:
    """Counts calls by (task name, digest of inputs)."""

    __slots__ = ("_exact", "_once", "_salts", "_size")

    def __init__(self) -> None:
        self._exact: dict[str, dict[bytes, int]] = {}
        self._size = 0
        self._once: _Fingerprints | None = None
        self._salts: dict[str, int] = {}

    def take(self, name: str, inputs: bytes) -> int:
        """Return how many earlier calls were equal to this one, and count this one."""
        counts = self._exact.get(name)
        if counts is None:
            counts = self._exact[name] = {}
        seen = counts.get(inputs)
        if seen is not None:
            counts[inputs] = seen + 1
            return seen
        if self._once is None:
            counts[inputs] = 1
            self._size += 1
            if self._size >= SMALL:
                self._compact()
            return 0
        if self._once.add(_fingerprint(self._salt(name), inputs)):
            return 0
        counts[inputs] = 2
        return 1

    def _compact(self) -> None:
        self._once = _Fingerprints(4 * SMALL)
        for name, counts in self._exact.items():
            salt = self._salt(name)
            self._once.fill([_fingerprint(salt, inputs) for inputs in counts])
            self._exact[name] = {inputs: n for inputs, n in counts.items() if n > 1}

    def _salt(self, name: str) -> int:
        salt = self._salts.get(name)
        if salt is None:
            salt = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
            self._salts[name] = salt
        return salt


def _fingerprint(salt: int, inputs: bytes) -> int:
    return (int.from_bytes(inputs[:8], "big") ^ salt) or 1


class _Fingerprints:
    """A set of non-zero 64-bit numbers in one flat array whose size is a power of two."""

    __slots__ = ("_count", "_limit", "_mask", "_table")

    def __init__(self, size: int) -> None:
        self._count = 0
        self._resize(size)

    def _resize(self, size: int) -> None:
        self._table = array("Q", bytes(8)) * size
        self._mask = size - 1
        self._limit = int(size * _MAX_LOAD)

    def add(self, number: int) -> bool:
        """Add ``number``; return whether it was absent."""
        if self._count >= self._limit:
            self._grow()
        table, mask = self._table, self._mask
        at = number & mask
        while (found := table[at]) != _EMPTY:
            if found == number:
                return False
            at = (at + 1) & mask
        table[at] = number
        self._count += 1
        return True

    def _grow(self) -> None:
        old = self._table
        self._resize(2 * len(old))
        self._place(old)

    def fill(self, numbers: list[int]) -> None:
        """Add numbers, for which there is room and of which none is here yet."""
        self._count += len(numbers)
        self._place(numbers)

    def _place(self, numbers: Iterable[int]) -> None:
        table, mask = self._table, self._mask
        for number in numbers:
            if number != _EMPTY:
                at = number & mask
                while table[at] != _EMPTY:
                    at = (at + 1) & mask
                table[at] = number
