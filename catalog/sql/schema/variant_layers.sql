-- variant_layers: one row per variant and layer: how much of the layer is removed
CREATE OR REPLACE TABLE variant_layers (
    variant_id VARCHAR,        -- -> variants: the variant
    block INTEGER,             -- block of the layer, from 0
    layer VARCHAR,             -- module path inside the block
    n_weights BIGINT,          -- number of weights of the layer
    n_removed BIGINT,          -- number of removed weights
    n_silent_features BIGINT,  -- number of input features that the contrast set never activates; contrast then uses the target set alone
    n_dampings INTEGER,        -- how often the damping of a score that changes weights was increased until the Hessian was positive definite; NULL for other scores
    PRIMARY KEY (variant_id, block, layer)
);
