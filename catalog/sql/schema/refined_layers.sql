-- refined_layers: one row per variant, layer and demonstration set: the error of the layer's output before and after its mask was refined
CREATE OR REPLACE TABLE refined_layers (
    variant_id VARCHAR,            -- -> variants: the refined variant
    block INTEGER,                 -- block of the layer, from 0
    layer VARCHAR,                 -- module path inside the block
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: set on whose tokens alone the error is measured
    error_before DOUBLE,           -- squared change of the layer's output by the mask of the score, relative to the squared output of the layer with all weights
    error_after DOUBLE,            -- the same with the refined mask and the recovered weights
    n_swaps BIGINT,                -- swaps of a kept and a removed weight in all rows of the layer; NULL if the refiner does not swap
    n_rows_changed BIGINT,         -- rows of the layer whose mask or kept weights differ from those of the score
    PRIMARY KEY (variant_id, block, layer, demonstration_set_id)
);
