-- orderings: one row per stored ordering of weights, from which keep masks are read
CREATE OR REPLACE TABLE orderings (
    ordering_id VARCHAR,    -- id of the ordering, and folder of its files below masks/
    base_model_id VARCHAR,  -- -> base_models: model whose weights are ordered
    score VARCHAR,          -- score the weights are ordered by
    n_levels INTEGER,       -- number of sparsities the ordering serves
    n_bytes BIGINT,         -- size of its files together
    PRIMARY KEY (ordering_id)
);
