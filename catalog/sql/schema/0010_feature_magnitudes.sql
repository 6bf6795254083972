-- feature_magnitudes: one row per block and rank: the largest hidden features while the model reads a set
CREATE TABLE feature_magnitudes (
    statistics_id VARCHAR,         -- statistics the magnitude belongs to
    base_model_id VARCHAR,         -- model that was observed
    demonstration_set_id VARCHAR,  -- text it was observed on
    block INTEGER,                 -- 0 is the embedding output, l the output of the l-th block
    rank INTEGER,                  -- 1 is the largest feature
    feature INTEGER,               -- index of the feature in the hidden state
    magnitude DOUBLE,              -- mean over demonstrations of the feature's Euclidean norm over the tokens
    PRIMARY KEY (statistics_id, block, rank)
);
