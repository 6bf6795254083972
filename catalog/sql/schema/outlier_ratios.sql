-- outlier_ratios: one row per block: fraction of its scores that are outliers; schedule owl derives sparsities from them
CREATE OR REPLACE TABLE outlier_ratios (
    outliers_id VARCHAR,    -- -> records.id: id of the record with the ratios
    base_model_id VARCHAR,  -- -> base_models: model whose scores were counted
    m DOUBLE,               -- a score above m times the mean score of its block is an outlier
    block INTEGER,          -- the block, from 0
    ratio DOUBLE,           -- fraction of the block's scores that are outliers
    PRIMARY KEY (outliers_id, block)
);
