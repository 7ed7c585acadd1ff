"""Artifacts: published values, each known by a name and a version.

Whether a publication is a new version is decided here, for every journal alike. Publishing what the
newest version of that partition holds already gives that version again: a pipeline that makes the
same table every night publishes it once. Any other content is a new version, also one that an older
version had: the newest version is always what was published last.
"""

from collections.abc import Iterable, Mapping

import msgspec

from perdure.errors import ArtifactConflictError, ArtifactNotFoundError

LATEST = "latest"
"""Stands for the newest version wherever a version or a tag is asked for."""


class Publication(msgspec.Struct, frozen=True, array_like=True, tag="publish"):
    """A value to be published.

    Attributes:
        name: Name of the artifact.
        version: Name of the version; "": the next number.
        kind: What it is: ``model``, ``dataset``, any word.
        digest: Digest of the value (16 bytes): equal values have equal ones.
        value: Encoded value: a pointer to the blob that holds it.
        blobs: Digests of all blobs of the value; the last one holds the value itself.
        metadata: A JSON object, its keys in order.
        tags: Movable names that point to this version from now on.
        partitions: Which part of the whole it is, e.g. ``{"date": "2026-01-31"}``, keys in order.
    """

    name: str
    version: str
    kind: str
    digest: bytes
    value: bytes
    blobs: tuple[bytes, ...]
    metadata: str = "{}"
    tags: tuple[str, ...] = ()
    partitions: dict[str, str] = {}


class Wanted(msgspec.Struct, frozen=True, array_like=True, tag="get"):
    """A version that is asked for.

    Attributes:
        name: Name of the artifact.
        version: A version, a tag, or ``latest``.
        partitions: Only versions with these; others may have further ones.
    """

    name: str
    version: str = LATEST
    partitions: dict[str, str] = {}


Request = Publication | Wanted
"""What a task may ask of the artifacts of its home."""


class Publisher(msgspec.Struct, frozen=True):
    """The action that publishes.

    Attributes:
        run: Key of the run.
        epoch: Under which the caller drives it.
        run_name: Its name.
        seq: Place of the action in the journal.
        action: Id of the action.
        step: Id of the publishing itself, which is a step of the action.
    """

    run: int
    epoch: int
    run_name: str
    seq: int
    action: bytes
    step: bytes


class ArtifactRow(msgspec.Struct, kw_only=True):
    """A version of an artifact as the journal holds it.

    Attributes:
        key: Number of the version in this journal; grows with time.
        name: Name of the artifact; this and what is not described here as in :class:`Publication`.
        created: Wall-clock seconds.
        run: Name of the run that first published it, "" if that was done outside any run.
        seq: Place of the publishing action in that run, 0 outside.
        action: Id of that action, b"" outside.
    """

    key: int
    name: str
    version: str
    kind: str
    created: float
    digest: bytes
    value: bytes
    blobs: tuple[bytes, ...]
    metadata: str
    partitions: dict[str, str]
    tags: tuple[str, ...] = ()
    run: str = ""
    seq: int = 0
    action: bytes = b""


def is_same(row: ArtifactRow, publication: Publication) -> bool:
    """Whether a version is what is to be published."""
    wanted = publication.digest, publication.kind, publication.metadata, publication.partitions
    return (row.digest, row.kind, row.metadata, row.partitions) == wanted


def fits(partitions: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a version with these partitions has those that are wanted."""
    return wanted.items() <= partitions.items()


def next_version(versions: Iterable[str]) -> str:
    """Return the number after the largest that is a version."""
    return str(1 + max((int(v) for v in versions if is_number(v)), default=0))


def is_number(version: str) -> bool:
    """Whether it is a version that counts."""
    return version.isascii() and version.isdigit() and len(version) <= 18


def not_found(wanted: Wanted) -> ArtifactNotFoundError:
    """Return the error for a version that does not exist."""
    parts = ", ".join(f"{key}={value}" for key, value in wanted.partitions.items())
    where = f" with {parts}" if parts else ""
    return ArtifactNotFoundError(f"there is no artifact {wanted.name}@{wanted.version}{where}")


def taken(publication: Publication) -> ArtifactConflictError:
    """Return the error for a version that has another content."""
    return ArtifactConflictError(
        f"{publication.name}@{publication.version} was published before, with another content, "
        "kind, metadata or partitions"
    )


def is_tag(name: str, text: str) -> ArtifactConflictError:
    """Return the error for a text that would be a version and a tag of the same artifact."""
    return ArtifactConflictError(
        f"{text!r} is a tag of some version of {name!r} and cannot name a version, too"
        if text != LATEST
        else f"{LATEST!r} always means the newest version, and can name no other"
    )


def is_version(name: str, text: str) -> ArtifactConflictError:
    """Return the error for a tag that is a version."""
    return ArtifactConflictError(f"{text!r} is a version of {name!r} and cannot be a tag, too")
