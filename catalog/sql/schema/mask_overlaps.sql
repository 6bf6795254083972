-- mask_overlaps: one row per pair of like variants and layer: do they remove the same weights
CREATE OR REPLACE TABLE mask_overlaps (
    variant_a VARCHAR,  -- -> variants: the variant with the smaller id
    variant_b VARCHAR,  -- -> variants: the variant with the greater id
    block INTEGER,      -- block the layer stands in, counted from 0
    layer VARCHAR,      -- module path inside the block
    jaccard DOUBLE,     -- Jaccard index of the two sets of removed weights; 1 if both are empty
    PRIMARY KEY (variant_a, variant_b, block, layer)
);
