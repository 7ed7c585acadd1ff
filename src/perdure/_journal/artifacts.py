"""Artifacts in SQLite: publishing, finding, tagging.

Everything is given a function that runs a query, so that the journal's own connection and those of
readers can be used.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from perdure._core.artifacts import (
    LATEST,
    ArtifactRow,
    Publication,
    Publisher,
    Wanted,
    is_number,
    is_same,
    is_tag,
    is_version,
    taken,
)
from perdure._journal.rows import Columns, decode_digests
from perdure.errors import ArtifactNotFoundError

Query = Callable[..., list[tuple[Any, ...]]]
"""Runs a statement with its parameters and returns all rows."""

ARTIFACT_COLUMNS = (
    "x.key, x.name, x.version, x.kind, x.created, x.digest, x.value, x.blobs, x.metadata, "
    "x.partitions, x.run, x.seq, x.action, "
    "(SELECT json_group_array(tag) FROM artifact_tags WHERE artifact = x.key)"
)
_SELECT = f"SELECT {ARTIFACT_COLUMNS} FROM artifacts AS x"

_pack = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.Encoder(order="deterministic").encode
_from_json = msgspec.json.decode


def decode_artifact(columns: Columns) -> ArtifactRow:
    """Return the row of ``ARTIFACT_COLUMNS``."""
    (key, name, version, kind, created, digest, value, blobs, metadata, partitions) = columns[:10]
    run, seq, action, tags = columns[10:]
    return ArtifactRow(
        key=key,
        name=name,
        version=version,
        kind=kind,
        created=created,
        digest=digest,
        value=value,
        blobs=decode_digests(blobs),
        metadata=metadata,
        partitions=_from_json(partitions),
        run=run,
        seq=seq,
        action=action,
        tags=tuple(sorted(_from_json(tags))),
    )


def find(query: Query, wanted: Wanted) -> ArtifactRow | None:
    """Return the version that is asked for, or None."""
    partitions = wanted.partitions
    tests = "".join(f" AND json_extract(x.partitions, '$.{key}') = ?" for key in partitions)
    texts = tuple(partitions.values())
    if wanted.version == LATEST:
        return _one(query, f"x.name = ?{tests} ORDER BY x.key DESC LIMIT 1", wanted.name, *texts)
    exact = f"x.name = ? AND x.version = ?{tests}"
    tagged = f"x.key = (SELECT artifact FROM artifact_tags WHERE name = ? AND tag = ?){tests}"
    found = _one(query, exact, wanted.name, wanted.version, *texts)
    return found or _one(query, tagged, wanted.name, wanted.version, *texts)


def publish(
    query: Query, publication: Publication, publisher: Publisher | None, at: float
) -> ArtifactRow:
    """Store a publication, in the transaction of the caller, and return its version.

    Raises:
        ArtifactConflictError: The version exists with another content, or is a tag.
    """
    if publisher is not None and (before := _published(query, publisher)):
        return before
    row = _known(query, publication) or _insert(query, publication, publisher, at)
    if publisher is not None:
        query(
            "INSERT INTO publications (run, step, seq, artifact) VALUES (?, ?, ?, ?)",
            *(publisher.run, publisher.step, publisher.seq, row.key),
        )
    tag(query, row, publication.tags)
    found = _one(query, "x.key = ?", row.key)
    assert found is not None  # it was just written
    return found


def tag(query: Query, row: ArtifactRow, tags: tuple[str, ...]) -> None:
    """Let these tags point to a version, wherever they pointed before.

    Raises:
        ArtifactConflictError: One of them is a version.
    """
    for text in tags:
        if text == LATEST:
            raise is_tag(row.name, text)
        if _one(query, "x.name = ? AND x.version = ?", row.name, text):
            raise is_version(row.name, text)
        query(
            "REPLACE INTO artifact_tags (name, tag, artifact) VALUES (?, ?, ?)",
            *(row.name, text, row.key),
        )


def untag(query: Query, row: ArtifactRow, tags: tuple[str, ...]) -> None:
    """Take these tags from a version.

    Raises:
        ArtifactNotFoundError: One of them does not point to it.
    """
    for text in tags:
        where = "WHERE name = ? AND tag = ? AND artifact = ?"
        if not query(f"SELECT 1 FROM artifact_tags {where}", row.name, text, row.key):
            raise ArtifactNotFoundError(f"{row.name}@{row.version} has no tag {text!r}")
        query(f"DELETE FROM artifact_tags {where}", row.name, text, row.key)


def _published(query: Query, publisher: Publisher) -> ArtifactRow | None:
    """Return what this very step has published: its record was lost in a crash."""
    key = "(SELECT artifact FROM publications WHERE run = ? AND step = ?)"
    return _one(query, f"x.key = {key}", publisher.run, publisher.step)


def _known(query: Query, publication: Publication) -> ArtifactRow | None:
    """Return the version that a publication is already, if it is one."""
    name, version = publication.name, publication.version
    if version:
        found = _one(query, "x.name = ? AND x.version = ?", name, version)
        if found is not None and not is_same(found, publication):
            raise taken(publication)
        return found
    found = _one(
        query,
        "x.name = ? AND x.partitions = ? ORDER BY x.key DESC LIMIT 1",
        name,
        _text(publication.partitions),
    )
    return found if found is not None and is_same(found, publication) else None


def _insert(
    query: Query, publication: Publication, publisher: Publisher | None, at: float
) -> ArtifactRow:
    name, version = publication.name, publication.version
    if version == LATEST or query(
        "SELECT 1 FROM artifact_tags WHERE name = ? AND tag = ?", name, version
    ):
        raise is_tag(name, version)
    if not version:
        ((largest,),) = query("SELECT max(number) FROM artifacts WHERE name = ?", name)
        version = str(1 + (largest or 0))
    query(
        "INSERT INTO artifacts (name, version, number, kind, created, run, seq, action, digest, "
        "blob, value, blobs, metadata, partitions) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        name,
        version,
        int(version) if is_number(version) else None,
        publication.kind,
        at,
        publisher.run_name if publisher else "",
        publisher.seq if publisher else 0,
        publisher.action if publisher else b"",
        publication.digest,
        publication.blobs[-1],
        publication.value,
        _pack(publication.blobs),
        publication.metadata,
        _text(publication.partitions),
    )
    row = _one(query, "x.name = ? AND x.version = ?", name, version)
    assert row is not None  # it was just written
    return row


def _one(query: Query, where: str, *parameters: object) -> ArtifactRow | None:
    found = query(f"{_SELECT} WHERE {where}", *parameters)
    return decode_artifact(found[0]) if found else None


def _text(partitions: dict[str, str]) -> str:
    return _to_json(partitions).decode()
