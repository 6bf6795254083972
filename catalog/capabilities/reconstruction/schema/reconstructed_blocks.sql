-- reconstructed_blocks: one row per reconstructed variant, block and demonstration set: the error of the block's output before and after its kept weights were fitted
CREATE OR REPLACE TABLE reconstructed_blocks (
    variant_id VARCHAR,            -- -> variants: the reconstructed variant
    block INTEGER,                 -- block, from 0
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: set on whose tokens alone the error is measured
    loss_before DOUBLE,            -- squared difference of the hidden states after the block from those of the dense model, relative to the squared states of the dense model, with the weights of the parent
    loss_after DOUBLE,             -- the same with the fitted weights
    n_steps BIGINT,                -- steps after which the fitted weights were measured; 0 if the parent's are the best, or nothing of the block is removed
    step_length DOUBLE,            -- length of a first step of equal relative size that lowers the loss of some demonstrations most; the learning rate is relative to it. NULL if nothing of the block is removed or lost
    PRIMARY KEY (variant_id, block, demonstration_set_id)
);
