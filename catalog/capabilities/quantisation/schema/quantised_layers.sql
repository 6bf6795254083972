-- quantised_layers: one row per layer of a variant whose rounded weights are stored as codes, here or in an adopted checkpoint
CREATE OR REPLACE TABLE quantised_layers (
    variant_id VARCHAR,         -- -> variants: the quantised variant
    block INTEGER,              -- block, from 0
    layer VARCHAR,              -- layer in the block
    method VARCHAR,             -- gptq or nearest; of an adopted checkpoint the type of the layer, such as Q4_K
    bits BIGINT,                -- bits of a code
    quantisation_group BIGINT,  -- consecutive inputs of a row that share a scale; NULL for the whole row, or if the type says it
    is_symmetric BOOLEAN,       -- whether levels are symmetric around 0; NULL if the type says it
    n_weights BIGINT,           -- weights of the layer, removed ones included
    n_bytes BIGINT,             -- bytes of codes, scales and zero points
    is_reached BOOLEAN,         -- whether gptq read a token; rounded to nearest without. NULL for nearest
    n_dead_features BIGINT,     -- inputs that no token activates, rounded to nearest. NULL for nearest
    n_dampings BIGINT,          -- how often the damping of gptq was multiplied by 10. NULL for nearest
    PRIMARY KEY (variant_id, block, layer)
);
