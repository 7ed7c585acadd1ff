"""Questions about published values."""

from perdure._core.artifacts import ArtifactRow, Wanted
from perdure._journal.artifacts import ARTIFACT_COLUMNS, decode_artifact, find
from perdure._views.connections import ReadConnections


class ArtifactViews:
    """What is published.

    Args:
        db: Connections to the journal.
    """

    def __init__(self, db: ReadConnections) -> None:
        self._db = db

    def find(self, wanted: Wanted) -> ArtifactRow | None:
        """Return the version that is asked for, or None."""
        return find(self._db.rows, wanted)

    def listed(
        self,
        name: str | None = None,
        kind: str | None = None,
        tag: str | None = None,
        partitions: dict[str, str] | None = None,
        limit: int = 100,
    ) -> list[ArtifactRow]:
        """Return the newest version of each artifact, or all versions of one; newest first.

        Args:
            name: Name of an artifact; None: of each, the newest of the versions that fit.
            kind: Only of this kind.
            tag: Only versions with this tag.
            partitions: Only versions with these, and maybe more.
            limit: At most so many.
        """
        wanted: dict[str, object] = {}
        if name is not None:
            wanted["x.name = ?"] = name
        if kind is not None:
            wanted["x.kind = ?"] = kind
        if tag is not None:
            wanted["x.key IN (SELECT artifact FROM artifact_tags WHERE tag = ?)"] = tag
        for key, value in (partitions or {}).items():
            wanted[f"json_extract(x.partitions, '$.{key}') = ?"] = value
        where = " AND ".join(wanted) or "true"
        if name is None:
            newest = f"SELECT max(x.key) FROM artifacts AS x WHERE {where} GROUP BY x.name"
            where = f"x.key IN ({newest})"
        return self._rows(f"{where} ORDER BY x.key DESC LIMIT ?", *wanted.values(), limit)

    def count(self, name: str) -> int:
        """Return how many versions an artifact has."""
        found = self._db.rows("SELECT count(*) FROM artifacts WHERE name = ?", name)
        return int(found[0][0]) if found else 0

    def published(self, run: int) -> list[ArtifactRow]:
        """Return what a run has published, in order; also if it was published before."""
        return self._rows(
            "x.key IN (SELECT artifact FROM publications WHERE run = ?) ORDER BY x.key", run
        )

    def published_by(self, run: int, seq: int) -> list[ArtifactRow]:
        """Return what an action of a run has published, in order."""
        return self._rows(
            "x.key IN (SELECT artifact FROM publications WHERE run = ? AND seq = ?) ORDER BY x.key",
            run,
            seq,
        )

    def publishers(self, artifact: int) -> list[tuple[int, int]]:
        """Return ``(run, seq)`` of the actions that published a version, by run."""
        return [
            (run, seq)
            for run, seq in self._db.rows(
                "SELECT run, seq FROM publications WHERE artifact = ? ORDER BY run, seq", artifact
            )
        ]

    def held(self, blobs: list[bytes]) -> list[ArtifactRow]:
        """Return the versions whose values are in these blobs."""
        found: list[ArtifactRow] = []
        for blob in blobs:
            found += self._rows("x.blob = ? ORDER BY x.key", blob)
        return found

    def _rows(self, where: str, *parameters: object) -> list[ArtifactRow]:
        query = f"SELECT {ARTIFACT_COLUMNS} FROM artifacts AS x WHERE {where}"
        return [decode_artifact(row) for row in self._db.rows(query, *parameters)]
