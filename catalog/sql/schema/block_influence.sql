-- block_influence: one row per demonstration set and block: how much the block of the dense model turns the hidden states of the set's tokens
CREATE OR REPLACE TABLE block_influence (
    block_influence_id VARCHAR,    -- id of the record
    base_model_id VARCHAR,         -- -> base_models: unpruned model that was observed
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text it was observed on
    block INTEGER,                 -- the block, from 0
    n_demonstrations BIGINT,       -- number of demonstrations
    n_tokens BIGINT,               -- number of real tokens that were observed
    influence DOUBLE,              -- mean over tokens of 1 - cosine between the hidden states before and after the block, in [0, 2]
    ci_low DOUBLE,                 -- lower end of its 95 % interval (BCa over demonstrations); NULL for a single demonstration
    ci_high DOUBLE,                -- upper end of it
    standard_error DOUBLE,         -- standard deviation of influence over resampled demonstrations; NULL for a single one
    PRIMARY KEY (block_influence_id, block)
);
