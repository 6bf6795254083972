-- neuron_removals: one row per variant and block: how many weights of each feed-forward neuron its masks remove
CREATE OR REPLACE TABLE neuron_removals (
    variant_id VARCHAR,       -- -> variants: the variant
    block INTEGER,            -- the block, counted from 0
    n_before BIGINT,          -- weights through which a neuron reads
    n_behind BIGINT,          -- weights through which a neuron is read
    removed_before BIGINT[],  -- of each neuron in order: those of n_before that are removed
    removed_behind BIGINT[],  -- of each neuron in order: those of n_behind that are removed
    PRIMARY KEY (variant_id, block)
);
