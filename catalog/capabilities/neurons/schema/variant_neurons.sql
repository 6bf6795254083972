-- variant_neurons: one row per block of a variant that lacks feed-forward neurons: which ones
CREATE OR REPLACE TABLE variant_neurons (
    variant_id VARCHAR,  -- -> variants: the variant
    block INTEGER,       -- the block, from 0
    n_neurons BIGINT,    -- number of neurons of the block
    n_removed BIGINT,    -- number of removed neurons
    removed BIGINT[],    -- removed neurons, ascending
    PRIMARY KEY (variant_id, block)
);
