-- hidden_means: one row per demonstration set whose mean hidden states behind every block are stored (LRP2 reads them)
CREATE OR REPLACE TABLE hidden_means (
    means_id VARCHAR,              -- id of the means, and name of their file below means/
    base_model_id VARCHAR,         -- -> base_models: model that was observed, unpruned
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text it was observed on
    n_tokens BIGINT,               -- real tokens the means are over
    PRIMARY KEY (means_id)
);
