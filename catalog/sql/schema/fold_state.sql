-- fold_state: one row per thing the next fold has not to find out again
CREATE OR REPLACE TABLE fold_state (
    name VARCHAR,   -- records: the listing of the store's records when all of them were last folded; materialized: whether derived tables are current
    value VARCHAR,  -- a SHA-256, or current
    PRIMARY KEY (name)
);
