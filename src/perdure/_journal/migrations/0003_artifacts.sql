-- Published values, and which actions made and read which blobs.

CREATE TABLE artifacts (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    number INTEGER,                 -- the version, if it is a number
    kind TEXT NOT NULL,
    created REAL NOT NULL,
    run TEXT NOT NULL,              -- name of the run that first published it, or ''; the artifact outlives it
    seq INTEGER NOT NULL,           -- of the publishing action in that run, or 0
    action BLOB NOT NULL,           -- its id
    digest BLOB NOT NULL,           -- of the value
    blob BLOB NOT NULL,             -- that holds the encoded value
    value BLOB NOT NULL,            -- encoded value: a pointer to that blob
    blobs BLOB NOT NULL,            -- msgpack: digests of all blobs of the value
    metadata TEXT NOT NULL,         -- JSON, keys in order; likewise partitions
    partitions TEXT NOT NULL,
    UNIQUE (name, version)
);

CREATE INDEX artifacts_by_name ON artifacts (name);
CREATE INDEX artifacts_by_number ON artifacts (name, number);
CREATE INDEX artifacts_by_blob ON artifacts (blob);
CREATE INDEX artifacts_by_run ON artifacts (run);

CREATE TABLE artifact_tags (
    name TEXT NOT NULL,             -- of the artifact
    tag TEXT NOT NULL,
    artifact INTEGER NOT NULL,      -- artifacts.key: the version that it points to
    PRIMARY KEY (name, tag)
) WITHOUT ROWID;

CREATE INDEX tags_by_artifact ON artifact_tags (artifact);

-- Every act of publishing inside a run, so that none of them happens twice. Several may have given
-- the same version.
CREATE TABLE publications (
    run INTEGER NOT NULL,
    step BLOB NOT NULL,             -- id of the step
    seq INTEGER NOT NULL,           -- of the action whose step it is
    artifact INTEGER NOT NULL,      -- artifacts.key
    PRIMARY KEY (run, step)
) WITHOUT ROWID;

CREATE INDEX publications_by_artifact ON publications (artifact);

-- Written together with the few actions that have blobs: where a large value came from and went to
-- is asked by its digest, and must not cost a look at every action.
CREATE TABLE lineage (
    blob BLOB NOT NULL,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    role INTEGER NOT NULL,          -- 0: inputs of the action refer to it, 1: its value does
    PRIMARY KEY (blob, run, seq, role)
) WITHOUT ROWID;

CREATE INDEX lineage_by_run ON lineage (run, role, seq);

-- The digests of earlier actions: an array of byte strings of 34 bytes each, after 1, 3 or 5 bytes
-- that give their number. Those of the value are also the last ones of `blobs`.
WITH RECURSIVE held (run, seq, role, blobs, at, stop) AS (
    SELECT run, seq, 0, blobs,
        CASE WHEN substr(blobs, 1, 1) < x'a0' THEN 2 WHEN substr(blobs, 1, 1) = x'dc' THEN 4 ELSE 6 END,
        length(blobs) - ifnull(length(value_blobs), 0) / 34 * 34
    FROM actions WHERE blobs IS NOT NULL
    UNION ALL
    SELECT run, seq, 1, value_blobs,
        CASE WHEN substr(value_blobs, 1, 1) < x'a0' THEN 2 WHEN substr(value_blobs, 1, 1) = x'dc' THEN 4 ELSE 6 END,
        length(value_blobs)
    FROM actions WHERE value_blobs IS NOT NULL
    UNION ALL
    SELECT run, seq, role, blobs, at + 34, stop FROM held WHERE at + 34 <= stop
)
INSERT OR IGNORE INTO lineage SELECT substr(blobs, at + 2, 32), run, seq, role FROM held WHERE at <= stop;
