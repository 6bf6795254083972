-- block_values: one row per block and record: value of the dense model's block from which a schedule derives sparsities
CREATE OR REPLACE TABLE block_values (
    block_values_id VARCHAR,  -- -> records.id: id of the record with the values
    base_model_id VARCHAR,    -- -> base_models: model whose blocks were measured
    name VARCHAR,             -- mean_score or median_score of wanda scores (schedule dlp), peak_exponent or half_exponent (alpha_pruning)
    block INTEGER,            -- the block, from 0
    value DOUBLE,             -- of the block
    n_weights BIGINT,         -- prunable weights of the block, its weight in the mean
    PRIMARY KEY (block_values_id, block)
);
