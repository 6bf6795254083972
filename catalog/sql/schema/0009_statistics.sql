-- statistics: one row per set of activation statistics
CREATE TABLE statistics (
    statistics_id VARCHAR,         -- id of the statistics
    base_model_id VARCHAR,         -- model that was observed
    demonstration_set_id VARCHAR,  -- text it was observed on
    propagation VARCHAR,           -- dense: the unpruned model was observed; sequential: blocks behind pruned blocks
    n_demonstrations BIGINT,       -- demonstrations observed
    n_tokens BIGINT,               -- real tokens observed
    PRIMARY KEY (statistics_id)
);
