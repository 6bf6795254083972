-- sublayer_influence: one row per demonstration set and sub-layer: how much it turns the hidden states of the set's tokens in the dense model
CREATE OR REPLACE TABLE sublayer_influence (
    sublayer_influence_id VARCHAR, -- id of the record
    base_model_id VARCHAR,         -- -> base_models: unpruned model that was observed
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text it was observed on
    block INTEGER,                 -- its block, from 0
    sublayer VARCHAR,              -- attention (or another mixer of tokens) or feed_forward
    n_demonstrations BIGINT,       -- number of demonstrations
    n_tokens BIGINT,               -- number of real tokens that were observed
    influence DOUBLE,              -- mean over tokens of 1 - cosine between the hidden states before and after the sub-layer, in [0, 2]
    ci_low DOUBLE,                 -- lower end of its 95 % interval (BCa over demonstrations); NULL for a single demonstration
    ci_high DOUBLE,                -- upper end of it
    standard_error DOUBLE,         -- standard deviation of influence over resampled demonstrations; NULL for a single one
    PRIMARY KEY (sublayer_influence_id, block, sublayer)
);
