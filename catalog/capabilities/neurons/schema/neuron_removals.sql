-- neuron_removals: one row per variant and block: how many weights of each feed-forward neuron its masks remove
CREATE OR REPLACE TABLE neuron_removals (
    variant_id VARCHAR,       -- -> variants: the variant
    block INTEGER,            -- the block, from 0
    n_before BIGINT,          -- number of weights into a neuron
    n_after BIGINT,          -- number of weights out of a neuron
    removed_before BIGINT[],  -- for each neuron in order: number of removed weights into it
    removed_after BIGINT[],  -- for each neuron in order: number of removed weights out of it
    PRIMARY KEY (variant_id, block)
);
