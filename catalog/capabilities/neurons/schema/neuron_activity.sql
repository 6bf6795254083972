-- neuron_activity: one row per demonstration set and block: how often each feed-forward neuron of the block is active
CREATE OR REPLACE TABLE neuron_activity (
    neuron_activity_id VARCHAR,    -- id of the counts
    base_model_id VARCHAR,         -- -> base_models: unpruned model that was observed
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text it was observed on
    block INTEGER,                 -- the block, from 0
    n_tokens BIGINT,               -- number of real tokens that were observed
    n_active BIGINT[],             -- for each neuron in order: number of tokens at which its activation is above 0
    PRIMARY KEY (neuron_activity_id, block)
);
