-- variants: one row per variant: a base model and what is removed from it; the dense model has sparsity 0 and no score
CREATE TABLE variants (
    variant_id VARCHAR,            -- id of the variant
    base_model_id VARCHAR,         -- the model it is made from
    demonstration_set_id VARCHAR,  -- demonstrations its score read; NULL if it read none
    contrast_set_id VARCHAR,       -- set the contrast score divides by; NULL for other scores
    score VARCHAR,                 -- wanda, contrast, magnitude, random; NULL for dense
    structure VARCHAR,             -- comparison group: row, or N:M; NULL for dense
    propagation VARCHAR,           -- dense or sequential; NULL if the score reads no statistics
    sparsity DOUBLE,               -- fraction of weights asked to be removed, in [0, 1)
    achieved_sparsity DOUBLE,      -- fraction of weights that is removed
    weights_changed BOOLEAN,       -- whether remaining weights have new values
    intervention VARCHAR,          -- what happens at run time (lrp2, self_translate); NULL for nothing
    seed BIGINT,                   -- seed of the random score; NULL for other scores
    ordering_id VARCHAR,           -- ordering its keep masks are read from; NULL for dense
    level INTEGER,                 -- which of the ordering's sparsities it is, counted from 0
    PRIMARY KEY (variant_id)
);
