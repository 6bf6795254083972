-- feature_overlaps: one row per pair of demonstration sets, depth and share: overlap of large features of one with small features of the other
CREATE OR REPLACE TABLE feature_overlaps (
    base_model_id VARCHAR,  -- -> base_models: model that was observed
    set_a VARCHAR,          -- -> demonstration_sets: demonstration set whose largest features are taken
    set_b VARCHAR,          -- -> demonstration_sets: demonstration set whose smallest features are taken
    depth INTEGER,          -- 0: output of the embeddings; n: output of block n - 1
    share DOUBLE,           -- fraction of the features that count as large, and as small
    value DOUBLE,           -- fraction of the large features of set_a that are small in set_b
    profile VARCHAR,        -- corrected, or paper: at the share of the published script
    statistics_a VARCHAR,   -- -> statistics: statistics of set_a that were read; they depend on the dtype
    statistics_b VARCHAR,   -- -> statistics: those of set_b
    PRIMARY KEY (statistics_a, statistics_b, depth, share, profile)
);
