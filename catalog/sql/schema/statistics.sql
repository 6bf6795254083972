-- statistics: one row per set of activation statistics of a model and a demonstration set
CREATE OR REPLACE TABLE statistics (
    statistics_id VARCHAR,         -- id of the statistics
    base_model_id VARCHAR,         -- -> base_models: model that was observed
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text it was observed on
    propagation VARCHAR,           -- dense: the unpruned model was observed; sequential: each block was observed after its predecessors were pruned
    n_demonstrations BIGINT,       -- number of demonstrations that were observed
    n_tokens BIGINT,               -- number of real tokens in the token scope
    token_scope VARCHAR,           -- tokens that count: all, content, source, target or last_shot
    PRIMARY KEY (statistics_id)
);
