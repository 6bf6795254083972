-- base_models: one row per dense model as published
CREATE OR REPLACE TABLE base_models (
    base_model_id VARCHAR,      -- id of the base model
    source VARCHAR,             -- where it was read from: a name on a hub, or the name of a folder
    family VARCHAR,             -- architecture: xglm, gpt2, bloom, ...
    n_blocks INTEGER,           -- number of transformer blocks
    hidden_size INTEGER,        -- number of features after each block
    n_prunable BIGINT,          -- number of weights in all prunable layers
    folder VARCHAR,             -- imported: name of its folder
    dtype VARCHAR,              -- imported: dtype of its weights as its config states it
    chat_template_sha256 VARCHAR,  -- imported: SHA-256 of its chat template; NULL without one
    imported_from VARCHAR,      -- imported with `mlprune import`: name on the hub, or of the folder, of the source
    imported_revision VARCHAR,  -- imported from a hub: the commit
    import_sources JSON,        -- imported: name -> SHA-256 of the published weights, config and tokenizer
    PRIMARY KEY (base_model_id)
);
