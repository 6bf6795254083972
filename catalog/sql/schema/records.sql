-- records: one row per record, which describes one finished piece of work
CREATE OR REPLACE TABLE records (
    kind VARCHAR,          -- kind of the result: base_models, demonstration_sets, statistics, masks, variants, ...
    id VARCHAR,            -- 20 hex digits, a hash of everything that determines the result
    step_version INTEGER,  -- version of the step that made it
    n_artefacts BIGINT,    -- number of its files in the store
    ordering_id VARCHAR,   -- id of the ordering or sweep of which it is a block; NULL for other kinds than mask_blocks
    dtype VARCHAR,         -- dtype of the model's weights and arithmetic; NULL without a model, or in records that do not name it
    PRIMARY KEY (kind, id)
);
