"""Where bytes are, as a URL: ``s3://bucket/key``, ``gs://...``, ``az://...``, ``file:///path``.

A plain path means a file of this machine. Credentials never stand in a URL: it is recorded and
shown, so whatever looks like one of those is refused rather than carried along.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from perdure.errors import ConfigurationError

FILE = "file"
SCHEMES = (FILE, "s3", "gs", "az")

_ALIASES = {"s3a": "s3", "gcs": "gs", "abfs": "az"}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Location(NamedTuple):
    """A place: a file, an object, or what begins with its path.

    Attributes:
        scheme: One of ``SCHEMES``.
        bucket: Bucket or container; "" on this machine.
        path: Key inside of the bucket, or an absolute path of this machine.
    """

    scheme: str
    bucket: str
    path: str

    @property
    def url(self) -> str:
        """The whole of it as text."""
        return f"{self.scheme}://{self.bucket}{self.path if self.is_local else '/' + self.path}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return self.scheme == FILE

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]

    def below(self, relative: str) -> "Location":
        """Return the place of that relative path below this one.

        Raises:
            ConfigurationError: The path leads elsewhere.
        """
        path = self.path.rstrip("/")
        joined = f"{path}/{inside(relative)}" if path or self.is_local else inside(relative)
        return self._replace(path=joined)


def locate(where: str | os.PathLike[str]) -> Location:
    """Return the place that a URL or a path names.

    Raises:
        ConfigurationError: The scheme is unknown, or the URL makes no sense.
    """
    text = os.fspath(where)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _local(text)
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    if scheme not in SCHEMES:
        raise ConfigurationError(
            f"{text!r} has the unknown scheme {scheme}://",
            hint=f"use a local path or one of {', '.join(f'{each}://' for each in SCHEMES)}",
        )
    if scheme == FILE:
        if not rest.startswith("/"):
            raise ConfigurationError(
                f"{text!r} names another machine", hint="write file:///path, with three slashes"
            )
        return _local(rest)
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(
            f"{_without_secrets(scheme, rest)} names no bucket",
            hint=f"write {scheme}://bucket/path; credentials come from the environment",
        )
    return Location(scheme, bucket, inside(key) if key.strip("/") else "")


def inside(relative: str) -> str:
    """Return a relative path that stays below wherever it is put, without slashes at its ends.

    Raises:
        ConfigurationError: It is absolute, empty, or leads elsewhere.
    """
    parts = relative.rstrip("/").split("/")
    if "\0" in relative or any(part in ("", ".", "..") for part in parts):
        raise ConfigurationError(
            f"the path {relative!r} leads out of its place",
            hint="write a relative path without empty parts, '.' and '..'",
        )
    return "/".join(parts)


def _local(text: str) -> Location:
    if not text or "\0" in text:
        raise ConfigurationError(f"{text!r} is no path", hint="write the path of a file or folder")
    # not resolved: a link that is moved to new content later means that content
    return Location(FILE, "", os.path.normpath(Path(text).expanduser().absolute()))


def _without_secrets(scheme: str, rest: str) -> str:
    """Return a URL for a message, without what stands before an ``@``."""
    return repr(f"{scheme}://{rest.rpartition('@')[2]}")
