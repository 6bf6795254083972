-- pruned_units: one row per variant, block and kind of unit: how many attention heads or feed-forward neurons are removed
CREATE OR REPLACE TABLE pruned_units (
    variant_id VARCHAR,  -- -> variants: the variant
    block INTEGER,       -- the block, from 0
    kind VARCHAR,        -- heads or neurons; with grouped-query attention, a head is a key head with its query heads
    n_units BIGINT,      -- number of units of the block
    n_removed BIGINT,    -- number of removed units
    PRIMARY KEY (variant_id, block, kind)
);
