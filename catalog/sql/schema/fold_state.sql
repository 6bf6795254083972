-- fold_state: one row per value that one fold stores for the next
CREATE OR REPLACE TABLE fold_state (
    name VARCHAR,   -- records: listing of the store's records when all were folded; materialized: whether derived tables are current
    value VARCHAR,  -- a SHA-256, or current
    PRIMARY KEY (name)
);
