-- variants: one row per variant: a base model and what is removed from it; the dense model has sparsity 0 and no score
CREATE OR REPLACE TABLE variants (
    variant_id VARCHAR,            -- id of the variant
    base_model_id VARCHAR,         -- -> base_models: the model it is made from
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: demonstrations its score read; NULL if it read none or several, see variant_demonstrations
    contrast_set_id VARCHAR,       -- -> demonstration_sets: set the contrast score divides by; NULL for other scores
    score VARCHAR,                 -- wanda, contrast, magnitude, random, ria, sparsegpt; NULL for dense and for parents of different scores
    score_parameters JSON,         -- parameters of the score that are not at their defaults, without its seed; NULL for none
    structure VARCHAR,             -- comparison group: row, matrix, alpha, or N:M; NULL for dense
    propagation VARCHAR,           -- dense or sequential; NULL if the score reads no statistics
    sparsity DOUBLE,               -- fraction of weights asked to be removed, in [0, 1); of a combination the achieved one
    achieved_sparsity DOUBLE,      -- fraction of weights that is removed
    weights_changed BOOLEAN,       -- whether remaining weights have new values
    intervention VARCHAR,          -- what happens at run time (lrp2, self_translate); NULL for nothing
    intervention_parameters JSON,  -- parameters of the intervention that are not at their defaults; NULL for none
    seed BIGINT,                   -- seed of the random score; NULL for other scores
    removes VARCHAR,               -- lowest or highest scores; NULL for dense, and in this and the next columns for records older than them
    schedule VARCHAR,              -- how the sparsity is spread over blocks and layers: uniform, given or owl; NULL for dense
    schedule_parameters JSON,      -- parameters of the schedule that are not at their defaults; NULL for none
    scope JSON,                    -- the blocks and layers that alone are pruned: {"blocks": [...], "layers": [...]}; NULL for all
    profile VARCHAR,               -- corrected, or paper: the published code's choices; NULL for dense
    token_scope VARCHAR,           -- tokens that count in the statistics: all, source, target or last_shot; NULL if none are read
    aggregation VARCHAR,           -- how several sets become one: mean, max, variance or pooled; NULL with one set or none
    aggregation_parameters JSON,   -- parameters of the aggregation that are not at their defaults; NULL for none
    n_demonstrations BIGINT,       -- only so many demonstrations of a set are used, the first ones; NULL for all
    resample_seed BIGINT,          -- seed of the bootstrap of the demonstrations; NULL for none
    combination VARCHAR,           -- what is done with the kept weights of its parents: intersection, union, ...; NULL for no parents
    mask_sha256 VARCHAR,           -- fingerprint of the keep masks: equal exactly where equal weights are kept; NULL for dense
    PRIMARY KEY (variant_id)
);
