-- expert_overlaps: one row per pair of demonstration sets, block and share: overlap of the experts to which most tokens of their source languages are routed
CREATE OR REPLACE TABLE expert_overlaps (
    base_model_id VARCHAR,  -- -> base_models: model that was observed
    set_a VARCHAR,          -- -> demonstration_sets: one of the sets
    set_b VARCHAR,          -- -> demonstration_sets: the other set
    block INTEGER,          -- the block, from 0
    share DOUBLE,           -- fraction of the experts of the block that are compared
    n_top BIGINT,           -- number of these experts
    jaccard DOUBLE,         -- experts of both sets / experts of either set
    by_chance DOUBLE,       -- mean of jaccard for two random choices of as many experts
    weighted DOUBLE,        -- sum over all experts of the smaller of the two shares of routed tokens / sum of the larger
    p_value DOUBLE,         -- fraction of 999 exchanges of demonstrations with a weighted overlap at most as large; the observed one counts
    statistics_a VARCHAR,   -- id of the expert statistics of set_a that were read; they depend on the dtype
    statistics_b VARCHAR,   -- id of those of set_b
    PRIMARY KEY (statistics_a, statistics_b, block, share)
);
