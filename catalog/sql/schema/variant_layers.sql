-- variant_layers: one row per variant and layer: how much of the layer is removed
CREATE OR REPLACE TABLE variant_layers (
    variant_id VARCHAR,        -- -> variants: the variant
    block INTEGER,             -- block the layer stands in, counted from 0
    layer VARCHAR,             -- module path inside the block
    n_weights BIGINT,          -- weights of the layer
    n_removed BIGINT,          -- weights that are removed
    n_silent_features BIGINT,  -- input features the contrast set never activates: there a contrast score reads the target set alone
    n_dampings INTEGER,        -- times SparseGPT's damping was raised until the Hessian was positive definite; NULL for other scores
    PRIMARY KEY (variant_id, block, layer)
);
