-- variant_descriptions: one row per variant, with everything that follows from its row, its demonstration sets and its parents
CREATE OR REPLACE TABLE variant_descriptions (
    variant_id VARCHAR,             -- -> variants: the variant
    base_model_id VARCHAR,          -- -> base_models: the model it is made from
    label VARCHAR,                  -- the variant in words, different for every variant of the catalog
    method VARCHAR,                 -- 20 hex digits, equal where variants differ in nothing but sizes, seeds and sparsity
    score VARCHAR,                  -- score the weights are ordered by; NULL for dense and for parents of different scores
    score_parameters JSON,          -- parameters of the score that are not at their defaults, without its seed; NULL for none
    structure VARCHAR,              -- comparison group: row, matrix, alpha, or N:M; NULL for dense
    propagation VARCHAR,            -- dense or sequential; NULL if the score reads no statistics
    sparsity DOUBLE,                -- fraction of weights asked to be removed, in [0, 1)
    achieved_sparsity DOUBLE,       -- fraction of weights that is removed
    demonstration_set_id VARCHAR,   -- -> demonstration_sets: demonstrations its score read; NULL if it read none or several
    contrast_set_id VARCHAR,        -- -> demonstration_sets: set the contrast score divides by; NULL for other scores
    set_kind VARCHAR,               -- kind of the demonstration set
    source_language VARCHAR,        -- source language of the demonstration set
    target_language VARCHAR,        -- target language of the demonstration set
    shots INTEGER,                  -- shots of the demonstration set
    samples INTEGER,                -- samples of the demonstration set
    seed BIGINT,                    -- seed of the random score, else that of the demonstration set
    intervention VARCHAR,           -- what happens at run time (lrp2, self_translate); NULL for nothing
    intervention_parameters JSON,   -- parameters of the intervention that are not at their defaults; NULL for none
    is_dense BOOLEAN,               -- whether it is the unpruned model
    weights_changed BOOLEAN,        -- whether remaining weights have new values
    removes VARCHAR,                -- lowest or highest scores
    schedule VARCHAR,               -- how the sparsity is spread over blocks and layers: uniform, given or owl
    schedule_parameters JSON,       -- parameters of the schedule that are not at their defaults; NULL for none
    scope VARCHAR,                  -- all, or JSON with the blocks and layers that are pruned
    profile VARCHAR,                -- corrected, or paper: the published code's choices
    token_scope VARCHAR,            -- tokens that count in the statistics: all, source, target or last_shot
    aggregation VARCHAR,            -- how several sets become one: mean, max, variance or pooled; NULL with one set or none
    aggregation_parameters JSON,    -- parameters of the aggregation that are not at their defaults; NULL for none
    n_demonstrations BIGINT,        -- number of demonstrations of a set that are used, the first ones; NULL for all
    resample_seed BIGINT,           -- seed of the bootstrap of the demonstrations; NULL for none
    combination VARCHAR,            -- what is done with the kept weights of its parents; NULL for no parents
    demonstration_label VARCHAR,    -- all sets its score read, in few letters
    settings VARCHAR,               -- settings that are not at their defaults, in words; NULL: all are defaults
    settings_id VARCHAR,            -- 20 hex digits, equal where the same settings are not at their defaults
    set_ids VARCHAR,                -- equal where the same sets were read
    sets_made_of VARCHAR,           -- equal where the sets differ in nothing but profile and seed
    PRIMARY KEY (variant_id)
);
