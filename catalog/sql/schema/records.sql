-- records: one row per finished piece of work
CREATE OR REPLACE TABLE records (
    kind VARCHAR,          -- what was made: base_models, demonstration_sets, statistics, masks, variants, ...
    id VARCHAR,            -- 20 hex digits over everything that determines the result
    step_version INTEGER,  -- version of the step that made it
    n_artefacts BIGINT,    -- number of files it left in the store
    PRIMARY KEY (kind, id)
);
