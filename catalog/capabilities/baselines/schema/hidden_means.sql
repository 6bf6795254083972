-- hidden_means: one row per demonstration set whose mean hidden states after every block are stored; LRP2 reads them
CREATE OR REPLACE TABLE hidden_means (
    means_id VARCHAR,              -- id of the means, and name of their file in means/
    base_model_id VARCHAR,         -- -> base_models: unpruned model that was observed
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text it was observed on
    n_tokens BIGINT,               -- number of real tokens that the means are over
    PRIMARY KEY (means_id)
);
