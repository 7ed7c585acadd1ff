-- Named queues, and what each controller has of them: see queues.py.

CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    limits BLOB NOT NULL,           -- msgpack: what was declared last
    declared REAL NOT NULL,
    log BLOB NOT NULL               -- msgpack: recent starts, where they are limited
) WITHOUT ROWID;

CREATE TABLE stakes (
    queue TEXT NOT NULL,
    owner TEXT NOT NULL,            -- the controller; its stake ends with it
    stake BLOB NOT NULL,            -- msgpack
    PRIMARY KEY (queue, owner)
) WITHOUT ROWID;
