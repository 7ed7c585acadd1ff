-- Comments inside the statements are kept by SQLite: `.schema` in the sqlite3 shell shows them.
-- All times are Unix seconds (UTC): datetime(created, 'unixepoch') reads them.

CREATE TABLE runs (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    task TEXT NOT NULL,             -- the root task
    phase INTEGER NOT NULL,         -- 1 waiting, 2 queued, 3 running, 4 retrying, 5 succeeded, 6 failed, 7 aborted, 8 interrupted
    owner TEXT NOT NULL,            -- controller that holds the lease, '' if none
    epoch INTEGER NOT NULL,         -- grows each time the lease is taken; writes under an older one are refused
    created REAL NOT NULL,
    ended REAL,
    parent TEXT NOT NULL,           -- run this one was rerun from, or ''
    python TEXT NOT NULL,
    cwd TEXT NOT NULL,
    error TEXT,                     -- first line of the failure
    inputs_digest BLOB NOT NULL,
    inputs BLOB NOT NULL,           -- encoded value
    spec BLOB NOT NULL,             -- this and what follows: msgpack
    bundle BLOB NOT NULL,
    context BLOB NOT NULL,
    options BLOB NOT NULL,
    blobs BLOB,
    outcome BLOB
);

CREATE TABLE tasks (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    code BLOB NOT NULL,             -- fingerprint of the task's body, empty for steps
    UNIQUE (name, code)
);

-- Clustered by run and only ever growing at each run's end: a commit dirties the last page or two of
-- its run. An index on the (random) id would dirty one page per row, so there is none; lookups by id
-- build their own, in a temporary file (see lookup.py).
CREATE TABLE actions (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,           -- place in the run, from 1, in the order of first recording
    id BLOB NOT NULL,
    parent INTEGER NOT NULL,        -- seq of the parent, 0 for the root
    task INTEGER NOT NULL,          -- tasks.id
    kind INTEGER NOT NULL,          -- 0 task, 1 trace, 2 sleep, 3 value
    phase INTEGER NOT NULL,         -- as in runs
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    attempts INTEGER NOT NULL,      -- charged to the retry budget
    losses INTEGER NOT NULL DEFAULT 0,  -- lost to no fault of the action
    worker INTEGER NOT NULL,        -- of the last attempt, 0 if none
    wake_at REAL,
    label TEXT NOT NULL DEFAULT '',            -- display group, or ''
    error TEXT,                     -- first line of the failure
    log BLOB,                       -- msgpack: ranges of the worker's log
    blobs BLOB,                     -- msgpack: digests that inputs and outcome refer to
    value_blobs BLOB,               -- msgpack: digests that the value refers to
    inputs BLOB NOT NULL,           -- encoded value
    value BLOB,                     -- encoded value, NULL while unfinished or if failed
    failure BLOB,                   -- msgpack
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;

CREATE TABLE attempts (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    number INTEGER NOT NULL,        -- from 0, lost attempts included
    started REAL NOT NULL,
    ended REAL NOT NULL,
    worker INTEGER NOT NULL,
    error TEXT NOT NULL,
    log BLOB,
    failure BLOB NOT NULL,
    PRIMARY KEY (run, seq, number)
) WITHOUT ROWID;

CREATE TABLE events (
    key INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,           -- action concerned, 0: the run
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL
);

CREATE INDEX events_by_run ON events (run, key);
