-- feature_magnitudes: one row per statistics, depth and rank: the largest hidden features while the model reads a demonstration set
CREATE OR REPLACE TABLE feature_magnitudes (
    statistics_id VARCHAR,         -- -> statistics: statistics that the magnitude belongs to
    base_model_id VARCHAR,         -- -> base_models: model that was observed
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text it was observed on
    depth INTEGER,                 -- 0: output of the embeddings; n: output of block n - 1
    rank INTEGER,                  -- rank by magnitude; 1 is the largest feature
    feature INTEGER,               -- index of the feature in the hidden state
    magnitude DOUBLE,              -- mean over the demonstrations of the feature's Euclidean norm over the tokens
    PRIMARY KEY (statistics_id, depth, rank)
);
