-- feature_overlaps: one row per pair of demonstration sets, depth and share: overlap of large features of one with small features of the other
CREATE OR REPLACE TABLE feature_overlaps (
    base_model_id VARCHAR,  -- -> base_models: model that was observed
    set_a VARCHAR,          -- -> demonstration_sets: demonstration set whose largest features are taken
    set_b VARCHAR,          -- -> demonstration_sets: demonstration set whose smallest features are taken
    depth INTEGER,          -- 0: output of the embeddings; n: output of block n - 1
    share DOUBLE,           -- fraction of the features that count as large, and as small
    value DOUBLE,           -- fraction of the large features of set_a that are small in set_b
    profile VARCHAR,        -- corrected, or paper: at the share of the published script
    PRIMARY KEY (base_model_id, set_a, set_b, depth, share, profile)
);
