-- orderings: one row per stored ordering of weights, from which keep masks are read
CREATE OR REPLACE TABLE orderings (
    ordering_id VARCHAR,    -- id of the ordering, and name of its folder in masks/
    base_model_id VARCHAR,  -- -> base_models: model whose weights are ordered
    score VARCHAR,          -- score the weights are ordered by
    n_levels INTEGER,       -- number of sparsities in the ordering
    n_bytes BIGINT,         -- total size of its files
    PRIMARY KEY (ordering_id)
);
