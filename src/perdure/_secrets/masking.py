"""Keeping the values of secrets out of what a worker writes, sends and records.

A value is looked for as it is, line by line if it has several, and as programs are apt to show it:
escaped in ``repr`` and JSON, quoted for a URL, in base64 and hexadecimal digits. Something that was
cut up, encrypted or computed from it is not recognised. Values shorter than ``SHORTEST`` are left
alone: what would be masked is mostly something else.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, quote_plus

import msgspec

from perdure._core.model import Failure
from perdure.errors import SerializationError

SHORTEST = 4
UNMISTAKABLE = 8
"""Shorter values are masked, but not taken for the secret when they are part of a task's value."""

_STARS = b"***"


Buffer = bytes | bytearray | memoryview


class Mask:
    """Finds the values of some secrets.

    Args:
        values: By the environment variable that holds them.
    """

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._forms = {form: name for name, value in values.items() for form in _forms(value)}
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)) or b"(?!)")
        self._firsts = {form[0] for form in self._forms}
        self._longest = max(map(len, self._forms), default=0)

    def apply(self, data: bytes) -> bytes:
        """Return the data with ``***`` for each value."""
        return self._pattern.sub(_STARS, data)

    def text(self, text: str) -> str:
        """Return the text with ``***`` for each value."""
        return self.apply(text.encode(errors="surrogatepass")).decode(errors="replace")

    def in_place(self, data: bytes) -> bytes:
        """Return encoded data with as many asterisks for each value, so that it can be decoded."""
        return self._pattern.sub(lambda found: b"*" * len(found[0]), data)

    def failure(self, failure: Failure) -> Failure:
        """Return the failure without them."""
        return msgspec.structs.replace(
            failure,
            message=self.text(failure.message),
            traceback=self.text(failure.traceback),
            payload=self.in_place(failure.payload),
        )

    def refuse(self, what: str, data: Buffer) -> None:
        """Refuse to record encoded data that holds one.

        Raises:
            SerializationError: It does.
        """
        for found in self._pattern.finditer(data):
            if len(found[0]) >= UNMISTAKABLE:
                variable = self._forms[bytes(found[0])]
                raise SerializationError(
                    f"{what} holds the secret in {variable}: values are recorded, secrets are not",
                    hint="read it where it is needed: os.environ there, with secrets=... at that "
                    "task",
                )

    def settled(self, data: bytes) -> int:
        """Return how many of the bytes are no part of a value that might go on after them."""
        cut = len(data)
        for at in range(max(0, cut - self._longest + 1), cut):
            if data[at] in self._firsts and any(f.startswith(data[at:]) for f in self._forms):
                cut = at
                break
        for found in self._pattern.finditer(data):
            if found.start() < cut < found.end():
                return found.start()
        return cut


class Flow:
    """Masks bytes that come in pieces: a value may be cut in two.

    Args:
        mask: The mask.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take a piece; return what can be shown of it and of what was held back."""
        data = self._held + data
        cut = self._mask.settled(data)
        self._held = data[cut:]
        return self._mask.apply(data[:cut])

    def rest(self) -> bytes:
        """Return what is held back: nothing follows it."""
        held, self._held = self._held, b""
        return self._mask.apply(held)


_mask: Mask | None = None


def install(mask: Mask) -> None:
    """Have this process keep these values to itself."""
    global _mask
    _mask = mask


def installed() -> Mask | None:
    """Return what hides the secrets of this process, None if it has none."""
    return _mask


def refuse(what: str, data: Buffer) -> None:
    """Refuse to record encoded data that holds a secret of this process.

    Raises:
        SerializationError: It does.
    """
    if _mask is not None:
        _mask.refuse(what, data)


def _forms(value: bytes) -> Iterator[bytes]:
    """Yield the value and what programs may make of it."""
    texts = [value, *(line.strip() for line in value.splitlines())]
    for form in dict.fromkeys(each for text in texts for each in _spellings(text)):
        if len(form) >= SHORTEST:
            yield form


def _spellings(text: bytes) -> Iterator[bytes]:
    yield text
    if len(text) < SHORTEST:
        return
    plain = text.decode(errors="replace")
    for written in (
        json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1], repr(plain)[1:-1],
        quote(plain), quote(plain, safe=""), quote_plus(plain), text.hex(), text.hex().upper(),
    ):  # fmt: skip
        yield written.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(text).rstrip(b"=")
        for before in range(3):
            yield from _within(text, before, encode)


def _within(text: bytes, before: int, encode: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Yield what base64 makes of the text as a part of something, as in HTTP's ``user:password``.

    Three bytes become four characters, each of six bits; those that the neighbours have a part in
    are left out.

    Args:
        text: The text.
        before: How many bytes of the group that it begins in are before it.
        encode: How the characters are called.
    """
    first, end = -(-before * 8 // 6), (before + len(text)) * 8 // 6
    inner = encode(bytes(before) + text)[first:end]
    if len(inner) >= UNMISTAKABLE:
        yield inner
