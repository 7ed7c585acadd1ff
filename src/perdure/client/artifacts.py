"""Artifacts outside of runs: from scripts, notebooks and the command line.

Publishing opens the journal for a moment and starts nothing else; finding only reads.
"""

import time

from perdure._core.artifacts import ArtifactRow, Publication, Wanted, not_found
from perdure.client import link


def publish(publication: Publication) -> ArtifactRow:
    """Store a published value, and return the version that it is.

    Raises:
        ArtifactConflictError: The version exists with another content.
    """
    with link.journal() as journal:
        return journal.publish(publication, None, time.time())


def find(wanted: Wanted) -> ArtifactRow:
    """Return the version that is asked for.

    Raises:
        ArtifactNotFoundError: There is none.
    """
    row = link.views().artifacts.find(wanted)
    if row is None:
        raise not_found(wanted)
    return row


def listed(
    name: str | None, kind: str | None, tag: str | None, partitions: dict[str, str], limit: int
) -> list[ArtifactRow]:
    """Return the newest version of each artifact, or all versions of one, newest first."""
    return link.views().artifacts.listed(name, kind, tag, partitions, limit)


def tag(row: ArtifactRow, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Let tags point to a version, and take others from it."""
    with link.journal() as journal:
        journal.tag(row, add, remove)
