-- variant_experts: one row per block of a variant that lacks experts: which ones
CREATE OR REPLACE TABLE variant_experts (
    variant_id VARCHAR,  -- -> variants: the variant
    block INTEGER,       -- the block, from 0
    n_experts BIGINT,    -- number of experts of the block
    n_unused BIGINT,     -- number of experts without tokens in the sets that the score reads; NULL for random experts
    n_removed BIGINT,    -- number of removed experts
    removed BIGINT[],    -- removed experts, ascending
    PRIMARY KEY (variant_id, block)
);
