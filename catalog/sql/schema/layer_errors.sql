-- layer_errors: one row per variant, demonstration set and layer: how much the variant changes the output of the layer
CREATE OR REPLACE TABLE layer_errors (
    variant_id VARCHAR,            -- -> variants: the variant
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: the set whose tokens the layer reads, in the dense model
    block INTEGER,                 -- block of the layer, from 0
    layer VARCHAR,                 -- module path inside the block
    n_weights BIGINT,              -- number of weights of the layer
    error DOUBLE,                  -- squared change of the output over all tokens, divided by the squared output: 0 without change, 1 if all weights are removed
    gram_matrices_id VARCHAR,      -- id of the Gram matrices of the set that were read; they depend on the dtype
    PRIMARY KEY (variant_id, gram_matrices_id, block, layer)
);
