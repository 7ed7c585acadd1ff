-- Values of cached tasks, kept for all runs: see cache.py.

ALTER TABLE actions ADD COLUMN origin BLOB;  -- msgpack: run name and action id where the value was made, if it is from the cache; then the phase is 9, cached
ALTER TABLE actions ADD COLUMN cache BLOB;   -- msgpack: what the cache was asked for the action, NULL if it was not

CREATE TABLE cache (
    number INTEGER PRIMARY KEY,     -- grows with time
    key BLOB NOT NULL UNIQUE,       -- digest of all that decides the value
    task TEXT NOT NULL,
    created REAL NOT NULL,
    origin BLOB NOT NULL,           -- msgpack: as in actions
    facts BLOB NOT NULL,            -- digest of the blob that tells what the key is made of, inputs aside
    inputs BLOB NOT NULL,           -- msgpack: digest and picture of each input, by name
    blobs BLOB,                     -- msgpack: digests that the value refers to
    value BLOB NOT NULL             -- encoded value
);

CREATE INDEX cache_by_task ON cache (task, created);

-- Which action makes the value of a key, where identical ones wait for it. A claim holds while its
-- run is driven under the same lease.
CREATE TABLE claims (
    key BLOB PRIMARY KEY,
    run INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL         -- tells the claims of a run apart
) WITHOUT ROWID;
