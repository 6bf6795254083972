-- quantisation_errors: one row per layer of a variant with codes and set that gptq read, if it has tokens of the layer
CREATE OR REPLACE TABLE quantisation_errors (
    variant_id VARCHAR,            -- -> variants: the quantised variant
    block INTEGER,                 -- block, from 0
    layer VARCHAR,                 -- layer in the block
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: set on whose tokens alone the error is measured
    error DOUBLE,                  -- squared change of the output, relative to the squared output of the dense weights
    unquantised_error DOUBLE,      -- the same with the unrounded weights of the parent; 0 for a dense parent
    PRIMARY KEY (variant_id, block, layer, demonstration_set_id)
);
