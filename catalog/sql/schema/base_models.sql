-- base_models: one row per dense model as published
CREATE OR REPLACE TABLE base_models (
    base_model_id VARCHAR,  -- id of the base model
    source VARCHAR,         -- where it was read from: a hub name, or a folder's name
    family VARCHAR,         -- architecture: xglm, gpt2, bloom, ...
    n_blocks INTEGER,       -- number of transformer blocks
    hidden_size INTEGER,    -- features after each block
    n_prunable BIGINT,      -- weights of all prunable layers together
    PRIMARY KEY (base_model_id)
);
