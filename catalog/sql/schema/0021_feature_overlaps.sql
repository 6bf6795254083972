-- feature_overlaps: one row per pair of demonstration sets, block and share: features large in one, small in the other
CREATE TABLE feature_overlaps (
    base_model_id VARCHAR,  -- model that was observed
    set_a VARCHAR,          -- demonstration set whose largest features are taken
    set_b VARCHAR,          -- demonstration set whose smallest features are taken
    block INTEGER,          -- 0 is the embedding output, l the output of the l-th block
    share DOUBLE,           -- fraction of the features that counts as large, and as small
    value DOUBLE,           -- fraction of the large features of set_a that are small in set_b
    PRIMARY KEY (base_model_id, set_a, set_b, block, share)
);
