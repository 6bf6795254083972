-- statistics: one row per set of activation statistics
CREATE OR REPLACE TABLE statistics (
    statistics_id VARCHAR,         -- id of the statistics
    base_model_id VARCHAR,         -- -> base_models: model that was observed
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text it was observed on
    propagation VARCHAR,           -- dense: the unpruned model was observed; sequential: blocks behind pruned blocks
    n_demonstrations BIGINT,       -- demonstrations observed
    n_tokens BIGINT,               -- tokens that count: the real tokens of the token scope
    token_scope VARCHAR,           -- tokens that count: all, source, target or last_shot; NULL in records that are older than it
    PRIMARY KEY (statistics_id)
);
