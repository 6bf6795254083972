-- mask_overlaps: one row per pair of similar variants and layer: how much the sets of removed weights overlap
CREATE OR REPLACE TABLE mask_overlaps (
    variant_a VARCHAR,  -- -> variants: variant with the smaller id
    variant_b VARCHAR,  -- -> variants: variant with the greater id
    block INTEGER,      -- block of the layer, from 0
    layer VARCHAR,      -- module path inside the block
    jaccard DOUBLE,     -- Jaccard index of the two sets of removed weights; 1 if both are empty
    PRIMARY KEY (variant_a, variant_b, block, layer)
);
