-- outlier_ratios: one row per block: how many of its scores are outliers, from which schedule owl takes the sparsities
CREATE OR REPLACE TABLE outlier_ratios (
    outliers_id VARCHAR,    -- -> records.id: id of the record that holds the ratios
    base_model_id VARCHAR,  -- -> base_models: model whose scores were counted
    m DOUBLE,               -- a score is an outlier above m times the mean score of its block
    block INTEGER,          -- the block, counted from 0
    ratio DOUBLE,           -- fraction of the block's scores that are outliers
    PRIMARY KEY (outliers_id, block)
);
