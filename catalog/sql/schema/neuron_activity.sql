-- neuron_activity: one row per demonstration set and block: how often each of the block's feed-forward neurons fires
CREATE OR REPLACE TABLE neuron_activity (
    neuron_activity_id VARCHAR,    -- id of the counts
    base_model_id VARCHAR,         -- -> base_models: model that was observed, unpruned
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text it was observed on
    block INTEGER,                 -- the block, counted from 0
    n_tokens BIGINT,               -- real tokens observed
    n_active BIGINT[],             -- of each neuron in order: the tokens at which its activation is above 0
    PRIMARY KEY (neuron_activity_id, block)
);
