-- Which runs took values from the cache, and whose: only actions that did are in these.

CREATE INDEX cached_actions ON actions (run, origin) WHERE origin IS NOT NULL;
CREATE INDEX cached_values ON actions (origin, run) WHERE origin IS NOT NULL;
