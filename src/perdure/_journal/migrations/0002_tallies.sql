-- Lists and trees of a run must not cost more the longer it gets. So the actions of each 1,024
-- consecutive places are counted once there are later ones: see tallies.py.

ALTER TABLE runs ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;  -- tallies hold the actions with a smaller seq

CREATE TABLE tallies (
    run INTEGER NOT NULL,
    parent INTEGER NOT NULL,        -- of the actions that are counted here; this and what follows: as in actions
    block INTEGER NOT NULL,         -- seq / 1024
    task INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    label TEXT NOT NULL,
    phase INTEGER NOT NULL,
    count INTEGER NOT NULL,         -- actions that are in this phase now; may be 0
    seconds REAL NOT NULL,          -- from start to end, summed over those that ended
    first INTEGER NOT NULL,         -- none of them has a smaller seq
    PRIMARY KEY (run, parent, block, task, kind, label, phase)
) WITHOUT ROWID;

CREATE INDEX open_actions ON actions (run, seq) WHERE ended IS NULL;

UPDATE runs SET counted = (
    SELECT ifnull(max(seq), 0) / 1024 * 1024 FROM actions WHERE actions.run = runs.key
);

INSERT INTO tallies
SELECT a.run, a.parent, a.seq / 1024, a.task, a.kind, a.label, a.phase, count(*),
    total(a.ended - a.started), min(a.seq)
FROM actions AS a JOIN runs ON runs.key = a.run WHERE a.seq < runs.counted
GROUP BY 1, 2, 3, 4, 5, 6, 7;
